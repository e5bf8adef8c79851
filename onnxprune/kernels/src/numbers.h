// Tensors of other element types, as the float32 that the kernels compute in.
#pragma once

#include <cstdint>

#include "memory.h"
#include "ort.h"

namespace onnxprune {

void floats_from_halves(const std::uint16_t* from, std::int64_t count, float* to);
void halves_from_floats(const float* from, std::int64_t count, std::uint16_t* to);
void floats_from_bfloats(const std::uint16_t* from, std::int64_t count, float* to);
void bfloats_from_floats(const float* from, std::int64_t count, std::uint16_t* to);

// The values of a float32, float16 or bfloat16 tensor as float32: its own memory, or a copy in scratch memory.
class AsFloats {
 public:
  explicit AsFloats(const Tensor& tensor);
  const float* data() const { return data_; }

 private:
  ScratchPool::Loan copy_;
  const float* data_;
};

// float32 memory whose values end up in a float32, float16 or bfloat16 tensor: its own, or scratch memory that `finish` rounds.
class FloatsFor {
 public:
  explicit FloatsFor(const Tensor& tensor);
  float* data() const { return data_; }
  void finish() const;

 private:
  const Tensor& tensor_;
  ScratchPool::Loan copy_;
  float* data_;
};

}  // namespace onnxprune
