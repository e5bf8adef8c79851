#include <cstdlib>
#include <cstring>

#include "isa.h"

namespace onnxprune {

namespace {

bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

bool has_avx512() {
#ifdef ONNXPRUNE_EMULATE_AVX512
  return has_avx2();
#else
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
#endif
}

}  // namespace

const Isa* find_isa() {
  __builtin_cpu_init();
  // For tests: "avx2" or "avx512" where the machine has it, "none" for no kernels at all.
  const char* const wanted = std::getenv("ONNXPRUNE_KERNELS_ISA");
  const bool any = wanted == nullptr || *wanted == '\0';
  if ((any || std::strcmp(wanted, "avx512") == 0) && has_avx512()) return &kAvx512;
  if ((any || std::strcmp(wanted, "avx2") == 0) && has_avx2()) return &kAvx2;
  return nullptr;
}

}  // namespace onnxprune
