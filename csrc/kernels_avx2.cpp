#include "vec_avx2.h"

#define ZEN_ISA avx2
#include "gelu_rational.h"
#include "quantized_tile_avx2.h"
#include "transpose_avx.h"
// After these, on which it is built.
#include "kernels_impl.h"

namespace zen {
const Kernels& avx2_kernels() { return avx2::kKernels; }
}  // namespace zen
