// Every kernel, written once over `Vec`; kernels_<isa>.cpp defines ZEN_ISA and includes its Vec, so
// that the whole lands in namespace zen::<isa>.
//
// Only what the instruction set's own namespace holds may be defined here: a std:: template that is
// not inlined would be compiled with this file's flags and could be linked into baseline code.
#pragma once

#include "attention.h"
#include "gemm.h"
#include "kernels.h"
#include "quantize_rows.h"
#include "quantized_gemm.h"
#include "rowwise.h"

namespace zen::ZEN_ISA {

#define ZEN_STRINGIFY_EXPANDED(text) #text
#define ZEN_STRINGIFY(text) ZEN_STRINGIFY_EXPANDED(text)

static const Kernels kKernels = {
    ZEN_STRINGIFY(ZEN_ISA),
    kPanelWidth,
    packed_size,
    pack_gemm,
    gemm,
    kQuantizedPanelWidth,
    quantized_panel_bound,
    pack_quantized_panel,
    quantized_gemm,
    quantize_rows,
    attention_scratch,
    attention,
    embed,
    norm,
    gate,
    rotary,
    mean_pool,
};

#undef ZEN_STRINGIFY
#undef ZEN_STRINGIFY_EXPANDED

}  // namespace zen::ZEN_ISA
