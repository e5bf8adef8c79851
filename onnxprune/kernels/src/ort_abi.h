// The slice of onnxruntime's C ABI that a custom operator needs.
//
// No package ships onnxruntime's C header, so its facts are stated here: where an entry stands in
// the append-only function table, and in which order the descriptor of a custom operator holds its
// callbacks. Entries never move, so one binary serves every onnxruntime that has the table of
// `kApiVersion`; an older one is refused with a status (see register.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace onnxprune::abi {

struct Status;
struct KernelInfo;
struct KernelContext;
struct Value;
struct ShapeInfo;
struct OpDomain;
struct SessionOptions;
struct ShapeInferContext;
struct OpAttribute;
struct Allocator;
struct MemoryInfo;

// The function table: an array of pointers to functions of different types.
using Table = const void* const*;

struct ApiBase {
  Table (*get_api)(std::uint32_t version);
  const char* (*get_version_string)();
};

constexpr std::uint32_t kApiVersion = 18;  // onnxruntime 1.18, the oldest with everything below

enum class ErrorCode : int { kFail = 1, kInvalidArgument = 2, kNotImplemented = 9 };
enum class ElementType : int { kFloat = 1, kInt64 = 7, kFloat16 = 10, kDouble = 11, kBFloat16 = 16 };
enum class Presence : int { kRequired = 0, kOptional = 1 };
enum class MemoryKind : int { kCpuInput = -2, kDefault = 0 };
enum class DeviceKind : int { kCpu = 0, kGpu = 1 };
enum class AttributeKind : int { kInt = 1, kInts = 2 };

// An entry of the table: its place and its type.
template <int Place, typename Function>
struct Entry;

template <int Place, typename Result, typename... Arguments>
struct Entry<Place, Result(Arguments...)> {
  static Result call(Table table, Arguments... arguments) {
    using Pointer = Result (*)(Arguments...);
    return reinterpret_cast<Pointer>(const_cast<void*>(table[Place]))(arguments...);
  }
};

using CreateStatus = Entry<0, Status*(ErrorCode, const char*)>;
using GetErrorMessage = Entry<2, const char*(const Status*)>;
using CreateCustomOpDomain = Entry<26, Status*(const char*, OpDomain**)>;
using CustomOpDomainAdd = Entry<27, Status*(OpDomain*, const struct CustomOp*)>;
using AddCustomOpDomain = Entry<28, Status*(SessionOptions*, OpDomain*)>;
using GetTensorMutableData = Entry<51, Status*(Value*, void**)>;
using CreateShapeInfo = Entry<57, Status*(ShapeInfo**)>;
using SetElementType = Entry<58, Status*(ShapeInfo*, ElementType)>;
using SetDimensions = Entry<59, Status*(ShapeInfo*, const std::int64_t*, std::size_t)>;
using GetElementType = Entry<60, Status*(const ShapeInfo*, ElementType*)>;
using GetDimensionsCount = Entry<61, Status*(const ShapeInfo*, std::size_t*)>;
using GetDimensions = Entry<62, Status*(const ShapeInfo*, std::int64_t*, std::size_t)>;
using GetSymbolicDimensions = Entry<63, Status*(const ShapeInfo*, const char**, std::size_t)>;
using GetShapeInfo = Entry<65, Status*(const Value*, ShapeInfo**)>;
using GetMemoryId = Entry<72, Status*(const MemoryInfo*, int*)>;
using AllocatorAlloc = Entry<75, Status*(Allocator*, std::size_t, void**)>;
using AllocatorFree = Entry<76, Status*(Allocator*, void*)>;
using AllocatorInfo = Entry<77, Status*(const Allocator*, const MemoryInfo**)>;
using KernelAttributeFloat = Entry<85, Status*(const KernelInfo*, const char*, float*)>;
using KernelAttributeInt = Entry<86, Status*(const KernelInfo*, const char*, std::int64_t*)>;
using ContextInputCount = Entry<88, Status*(const KernelContext*, std::size_t*)>;
using ContextInput = Entry<90, Status*(const KernelContext*, std::size_t, const Value**)>;
using ContextOutput = Entry<91, Status*(KernelContext*, std::size_t, const std::int64_t*, std::size_t, Value**)>;
using ReleaseStatus = Entry<93, void(Status*)>;
using ReleaseShapeInfo = Entry<99, void(ShapeInfo*)>;
using ReleaseCustomOpDomain = Entry<101, void(OpDomain*)>;
using ReleaseAllocator = Entry<132, void(Allocator*)>;
using KernelAttributeInts = Entry<163, Status*(const KernelInfo*, const char*, std::int64_t*, std::size_t*)>;
using ContextGpuStream = Entry<193, Status*(const KernelContext*, void**)>;
using GetTensorMemory = Entry<194, Status*(const Value*, const MemoryInfo**)>;
using GetDeviceKind = Entry<225, void(const MemoryInfo*, DeviceKind*)>;
using KernelConstantInput = Entry<249, Status*(const KernelInfo*, std::size_t, int*, const Value**)>;
using ContextAllocator = Entry<253, Status*(const KernelContext*, const MemoryInfo*, Allocator**)>;
using ContextResource = Entry<265, Status*(const KernelContext*, int, int, void**)>;
using InferInputCount = Entry<267, Status*(const ShapeInferContext*, std::size_t*)>;
using InferInput = Entry<268, Status*(const ShapeInferContext*, std::size_t, ShapeInfo**)>;
using InferAttribute = Entry<269, Status*(const ShapeInferContext*, const char*, const OpAttribute**)>;
using InferOutput = Entry<270, Status*(const ShapeInferContext*, std::size_t, const ShapeInfo*)>;
using SetSymbolicDimensions = Entry<271, Status*(ShapeInfo*, const char**, std::size_t)>;
using ReadAttribute = Entry<272, Status*(const OpAttribute*, AttributeKind, void*, std::size_t, std::size_t*)>;
using ContextParallelFor =
    Entry<274, Status*(const KernelContext*, void (*)(void*, std::size_t), std::size_t, std::size_t, void*)>;
using ContextScratch = Entry<277, Status*(const KernelContext*, const MemoryInfo*, std::size_t, void**)>;
using KernelAllocator = Entry<278, Status*(const KernelInfo*, MemoryKind, Allocator**)>;

// What the CUDA provider tells of itself: the version of its list, and the places of entries.
constexpr int kCudaResources = 3;
constexpr int kCudaUsesTf32 = 10011;

// A custom operator. The order of the members is the ABI; `version` says how many of them exist.
struct CustomOp {
  std::uint32_t version;
  void* (*create_kernel)(const CustomOp*, Table, const KernelInfo*);
  const char* (*get_name)(const CustomOp*);
  const char* (*get_provider)(const CustomOp*);
  ElementType (*get_input_type)(const CustomOp*, std::size_t);
  std::size_t (*get_input_count)(const CustomOp*);
  ElementType (*get_output_type)(const CustomOp*, std::size_t);
  std::size_t (*get_output_count)(const CustomOp*);
  void (*compute)(void*, KernelContext*);
  void (*destroy)(void*);
  Presence (*get_input_presence)(const CustomOp*, std::size_t);
  Presence (*get_output_presence)(const CustomOp*, std::size_t);
  MemoryKind (*get_input_memory)(const CustomOp*, std::size_t);
  int (*get_variadic_input_arity)(const CustomOp*);
  int (*get_variadic_input_homogeneity)(const CustomOp*);
  int (*get_variadic_output_arity)(const CustomOp*);
  int (*get_variadic_output_homogeneity)(const CustomOp*);
  Status* (*create_kernel_v2)(const CustomOp*, Table, const KernelInfo*, void**);
  Status* (*compute_v2)(void*, KernelContext*);
  Status* (*infer_shape)(const CustomOp*, ShapeInferContext*);
  int (*get_start_version)(const CustomOp*);
  int (*get_end_version)(const CustomOp*);
  std::size_t (*get_may_inplace)(int**, int**);
  void (*release_may_inplace)(int*, int*);
  std::size_t (*get_alias_map)(int**, int**);
  void (*release_alias_map)(int*, int*);
};

static_assert(sizeof(void*) == 8, "the table is declared for 64-bit machines");
static_assert(sizeof(CustomOp) == 26 * 8, "a member more or less than the ABI has");
static_assert(offsetof(CustomOp, compute) == 8 * 8, "members out of order");
static_assert(offsetof(CustomOp, create_kernel_v2) == 17 * 8, "members out of order");
static_assert(offsetof(CustomOp, infer_shape) == 19 * 8, "members out of order");
static_assert(offsetof(CustomOp, release_alias_map) == 25 * 8, "members out of order");
static_assert(sizeof(ElementType) == sizeof(int) && sizeof(Presence) == sizeof(int) &&
                  sizeof(MemoryKind) == sizeof(int) && sizeof(DeviceKind) == sizeof(int),
              "enums of C are ints");

}  // namespace onnxprune::abi
