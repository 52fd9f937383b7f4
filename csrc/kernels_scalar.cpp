#include "vec_scalar.h"

#define ZEN_ISA scalar
#include "kernels_impl.h"

namespace zen {
const Kernels& scalar_kernels() { return scalar::kKernels; }
}  // namespace zen
