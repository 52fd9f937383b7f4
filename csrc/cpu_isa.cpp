#include "cpu_isa.h"

#ifdef ZEN_X86_KERNELS
#include <cpuid.h>

#include <cstdint>
#endif

namespace zen {
namespace {

#ifdef ZEN_X86_KERNELS

struct CpuidRegisters {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidRegisters cpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidRegisters r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

constexpr bool bit(uint32_t word, int index) { return (word >> index) & 1u; }

// The register states that the operating system saves and restores (XCR0). An instruction set whose
// registers it does not preserve would corrupt other processes' values, whatever cpuid says.
uint64_t saved_register_states() {
  if (!bit(cpuid(1, 0).ecx, 27)) return 0;  // OSXSAVE
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

bool has_avx2() {
  constexpr uint64_t kYmmState = 0x6;  // XMM | YMM
  const CpuidRegisters base = cpuid(1, 0);
  const CpuidRegisters extended = cpuid(7, 0);
  const bool fma = bit(base.ecx, 12), f16c = bit(base.ecx, 29), avx2 = bit(extended.ebx, 5);
  return fma && f16c && avx2 && (saved_register_states() & kYmmState) == kYmmState;
}

bool has_avx512_vnni() {
  constexpr uint64_t kZmmState = 0xe6;  // XMM | YMM | opmask | ZMM
  const CpuidRegisters extended = cpuid(7, 0);
  const bool f = bit(extended.ebx, 16), dq = bit(extended.ebx, 17), bw = bit(extended.ebx, 30),
             vl = bit(extended.ebx, 31), vnni = bit(extended.ecx, 11);
  return has_avx2() && f && dq && bw && vl && vnni &&
         (saved_register_states() & kZmmState) == kZmmState;
}

#endif  // ZEN_X86_KERNELS

}  // namespace

std::vector<const Kernels*> available_kernels() {
  std::vector<const Kernels*> kernels{&scalar_kernels()};
#ifdef ZEN_X86_KERNELS
  if (has_avx2()) kernels.push_back(&avx2_kernels());
  if (has_avx512_vnni()) kernels.push_back(&avx512_vnni_kernels());
#endif
  return kernels;
}

const Kernels* find_kernels(const std::string& isa) {
  for (const Kernels* kernels : available_kernels()) {
    if (kernels->isa == isa) return kernels;
  }
  return nullptr;
}

}  // namespace zen
