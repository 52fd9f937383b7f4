#include "vec_avx512.h"

#define ZEN_ISA avx512_vnni
#include "kernels_impl.h"

namespace zen {
const Kernels& avx512_vnni_kernels() { return avx512_vnni::kKernels; }
}  // namespace zen
