#include "vec_scalar.h"

#define ZEN_ISA scalar
#include "gelu_rational.h"
#include "quantized_tile_scalar.h"
// After these, on which it is built.
#include "kernels_impl.h"

namespace zen {
const Kernels& scalar_kernels() { return scalar::kKernels; }
}  // namespace zen
