// Which of the kernel sets built here this processor and operating system can run.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace zen {

// The usable kernel sets, slowest first; the first is scalar.
std::vector<const Kernels*> available_kernels();

// The usable kernel set of that name; null where there is none.
const Kernels* find_kernels(const std::string& isa);

}  // namespace zen
