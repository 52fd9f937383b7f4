#include "vec_avx2.h"

#define ZEN_ISA avx2
#include "kernels_impl.h"

namespace zen {
const Kernels& avx2_kernels() { return avx2::kKernels; }
}  // namespace zen
