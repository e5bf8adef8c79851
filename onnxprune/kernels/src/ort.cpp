#include "ort.h"

#include <new>

namespace onnxprune {

namespace {

constexpr std::int64_t kMostElements = std::int64_t{1} << 48;  // 2^48 bytes is what a process can address

Tensor view(abi::Table table, const abi::Value* value) {
  Tensor tensor;
  if (value == nullptr) return tensor;
  abi::ShapeInfo* info = nullptr;
  check(table, abi::GetShapeInfo::call(table, value, &info));
  std::size_t rank = 0;
  abi::Status* status = abi::GetElementType::call(table, info, &tensor.type);
  if (status == nullptr) status = abi::GetDimensionsCount::call(table, info, &rank);
  if (status == nullptr) {
    try {
      tensor.shape.resize(rank);
    } catch (...) {
      abi::ReleaseShapeInfo::call(table, info);
      throw;
    }
    status = abi::GetDimensions::call(table, info, tensor.shape.data(), rank);
  }
  abi::ReleaseShapeInfo::call(table, info);
  check(table, status);
  check(table, abi::GetTensorMutableData::call(table, const_cast<abi::Value*>(value), &tensor.data));
  check(table, abi::GetTensorMemory::call(table, value, &tensor.memory));
  return tensor;
}

}  // namespace

std::int64_t checked_product(std::int64_t a, std::int64_t b, const char* what) {
  std::int64_t product = 0;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product) || product > kMostElements) {
    throw BadInput(std::string(what) + " is too large: " + std::to_string(a) + " times " + std::to_string(b) +
                   " elements.");
  }
  return product;
}

std::int64_t element_count(const Shape& shape, const char* what) {
  for (const std::int64_t size : shape) {
    if (size == 0) return 0;
  }
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count = checked_product(count, size, what);
  return count;
}

std::string show(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i != 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

bool on_host(abi::Table table, const abi::MemoryInfo* memory) {
  abi::DeviceKind kind = abi::DeviceKind::kCpu;
  if (memory != nullptr) abi::GetDeviceKind::call(table, memory, &kind);
  return kind == abi::DeviceKind::kCpu;
}

DeviceMemory::~DeviceMemory() {
  if (allocator_ == nullptr) return;
  if (data_ != nullptr) {
    if (abi::Status* const status = abi::AllocatorFree::call(table_, allocator_, data_)) {
      abi::ReleaseStatus::call(table_, status);
    }
  }
  abi::ReleaseAllocator::call(table_, allocator_);
}

int DeviceMemory::device() const {
  const abi::MemoryInfo* memory = nullptr;
  int number = 0;
  check(table_, abi::AllocatorInfo::call(table_, allocator_, &memory));
  check(table_, abi::GetMemoryId::call(table_, memory, &number));
  return number;
}

void check(abi::Table table, abi::Status* status) {
  if (status == nullptr) return;
  std::string message;
  try {
    message = abi::GetErrorMessage::call(table, status);
  } catch (...) {
    abi::ReleaseStatus::call(table, status);
    throw;
  }
  abi::ReleaseStatus::call(table, status);
  throw std::runtime_error(message);
}

std::int64_t Info::integer(const char* name) const {
  std::int64_t value = 0;
  check(table_, abi::KernelAttributeInt::call(table_, info_, name, &value));
  return value;
}

float Info::real(const char* name) const {
  float value = 0.0F;
  check(table_, abi::KernelAttributeFloat::call(table_, info_, name, &value));
  return value;
}

std::vector<std::int64_t> Info::integers(const char* name) const {
  std::size_t count = 0;
  check(table_, abi::KernelAttributeInts::call(table_, info_, name, nullptr, &count));
  std::vector<std::int64_t> values(count);
  if (count != 0) check(table_, abi::KernelAttributeInts::call(table_, info_, name, values.data(), &count));
  return values;
}

bool Info::constant(std::size_t place, Tensor* tensor) const {
  int is_constant = 0;
  const abi::Value* value = nullptr;
  check(table_, abi::KernelConstantInput::call(table_, info_, place, &is_constant, &value));
  if (is_constant == 0 || value == nullptr) return false;
  *tensor = view(table_, value);
  return true;
}

DeviceMemory Info::allocate(std::size_t bytes) const {
  abi::Allocator* allocator = nullptr;
  check(table_, abi::KernelAllocator::call(table_, info_, abi::MemoryKind::kDefault, &allocator));
  void* data = nullptr;
  abi::Status* const status = abi::AllocatorAlloc::call(table_, allocator, bytes, &data);
  DeviceMemory memory(table_, allocator, data);
  check(table_, status);
  if (data == nullptr && bytes != 0) throw std::bad_alloc();
  return memory;
}

Tensor Context::input(std::size_t place) const {
  std::size_t count = 0;
  check(table_, abi::ContextInputCount::call(table_, context_, &count));
  if (place >= count) return Tensor{};
  const abi::Value* value = nullptr;
  check(table_, abi::ContextInput::call(table_, context_, place, &value));
  return view(table_, value);
}

Tensor Context::output(const Shape& shape, ElementType type) const {
  abi::Value* value = nullptr;
  check(table_, abi::ContextOutput::call(table_, context_, 0, shape.data(), shape.size(), &value));
  Tensor tensor{type, shape, nullptr, nullptr};
  check(table_, abi::GetTensorMutableData::call(table_, value, &tensor.data));
  check(table_, abi::GetTensorMemory::call(table_, value, &tensor.memory));
  return tensor;
}

void* Context::stream() const {
  void* stream = nullptr;
  check(table_, abi::ContextGpuStream::call(table_, context_, &stream));
  return stream;
}

DeviceMemory Context::scratch(const Tensor& beside, std::size_t bytes) const {
  void* const on = stream();
  abi::Allocator* allocator = nullptr;
  check(table_, abi::ContextAllocator::call(table_, context_, beside.memory, &allocator));
  void* data = nullptr;
  // Scratch memory is bound to the stream; onnxruntime gives none where there is no stream.
  abi::Status* const status = on != nullptr
                                  ? abi::ContextScratch::call(table_, context_, beside.memory, bytes, &data)
                                  : abi::AllocatorAlloc::call(table_, allocator, bytes, &data);
  DeviceMemory memory(table_, allocator, data);
  check(table_, status);
  if (data == nullptr && bytes != 0) throw std::bad_alloc();
  return memory;
}

bool Context::provider_says(int version, int entry) const {
  void* answer = nullptr;
  abi::Status* const status = abi::ContextResource::call(table_, context_, version, entry, &answer);
  if (status == nullptr) return answer != nullptr;
  abi::ReleaseStatus::call(table_, status);
  return false;
}

void Context::run_parallel(void (*step)(void*, std::size_t), std::size_t count, void* job) const {
  check(table_, abi::ContextParallelFor::call(table_, context_, step, count, 0, job));
}

}  // namespace onnxprune
