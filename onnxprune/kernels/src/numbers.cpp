#include "numbers.h"

#include <immintrin.h>

#include <cstring>

namespace onnxprune {

namespace {

std::size_t copied(const Tensor& tensor) {
  const bool narrow = tensor.type == ElementType::kFloat16 || tensor.type == ElementType::kBFloat16;
  return narrow ? static_cast<std::size_t>(element_count(tensor.shape, "A tensor")) : 0;
}

}  // namespace

// Every machine with AVX2 has these instructions; find_isa asks for them.
__attribute__((target("avx2,f16c"))) void floats_from_halves(const std::uint16_t* from, std::int64_t count, float* to) {
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  }
  for (; i < count; ++i) to[i] = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(from[i])));
}

__attribute__((target("avx2,f16c"))) void halves_from_floats(const float* from, std::int64_t count, std::uint16_t* to) {
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
  }
  for (; i < count; ++i) {
    to[i] = static_cast<std::uint16_t>(
        _mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(from[i]), _MM_FROUND_TO_NEAREST_INT)));
  }
}

void floats_from_bfloats(const std::uint16_t* from, std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t bits = std::uint32_t{from[i]} << 16;
    std::memcpy(to + i, &bits, sizeof(bits));
  }
}

void bfloats_from_floats(const float* from, std::int64_t count, std::uint16_t* to) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, from + i, sizeof(bits));
    // to the nearest, ties to even; what is no number stays none
    const std::uint32_t rounded = bits + 0x7fffU + (bits >> 16 & 1);
    to[i] = static_cast<std::uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? bits >> 16 | 0x40U : rounded >> 16);
  }
}

AsFloats::AsFloats(const Tensor& tensor)
    : copy_(ScratchPool::shared().borrow(copied(tensor))), data_(tensor.as<float>()) {
  const std::size_t count = copied(tensor);
  if (count == 0) return;
  const auto widen = tensor.type == ElementType::kFloat16 ? floats_from_halves : floats_from_bfloats;
  widen(tensor.as<std::uint16_t>(), static_cast<std::int64_t>(count), copy_.data());
  data_ = copy_.data();
}

FloatsFor::FloatsFor(const Tensor& tensor)
    : tensor_(tensor), copy_(ScratchPool::shared().borrow(copied(tensor))), data_(tensor.as<float>()) {
  if (copied(tensor) != 0) data_ = copy_.data();
}

void FloatsFor::finish() const {
  const std::size_t count = copied(tensor_);
  if (count == 0) return;
  const auto round = tensor_.type == ElementType::kFloat16 ? halves_from_floats : bfloats_from_floats;
  round(data_, static_cast<std::int64_t>(count), tensor_.as<std::uint16_t>());
}

}  // namespace onnxprune
