#include "vec_scalar.h"

#define ZEN_ISA scalar
#include "quantized_tile_scalar.h"
// After the tile, on which it is built.
#include "kernels_impl.h"

namespace zen {
const Kernels& scalar_kernels() { return scalar::kKernels; }
}  // namespace zen
