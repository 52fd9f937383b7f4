#include "vec_avx512.h"

#define ZEN_ISA avx512_vnni
#include "gelu_table_avx512.h"
#include "quantized_tile_avx512.h"
#include "transpose_avx.h"
// After these, on which it is built.
#include "kernels_impl.h"

namespace zen {
const Kernels& avx512_vnni_kernels() { return avx512_vnni::kKernels; }
}  // namespace zen
