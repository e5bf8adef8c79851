// What onnxruntime calls: the entry point of the library, and the descriptors of its operators.
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "cuda_kernel.h"
#include "export.h"
#include "infer_shape.h"
#include "kernel.h"

namespace onnxprune {

namespace {

constexpr const char* kDomain = "onnxprune";
constexpr int kFirstVersion = 1, kLastVersion = 1;  // of the operators
constexpr const char* kCudaProvider = "CUDAExecutionProvider";
constexpr std::size_t kIndexPlace = 2;

// Which kernels sessions get: those of the CPU, and beside them those of CUDA. For tests with a driver that emulates a
// device in the host's memory, the latter in place of the former.
enum class Selection : int { kCpu = 0, kCpuAndCuda = 1, kEmulatedCuda = 2 };
thread_local Selection selected = Selection::kCpu;

// One operator for one element type, with what its callbacks need to know.
struct Operator : abi::CustomOp {
  std::string name;
  Family family;
  ActivationKind activation;
  ElementType type;
  const Isa* isa;
  abi::Table table;
  bool cuda;
  const char* provider;  // null is the CPU
};

const Operator& own(const abi::CustomOp* op) { return *static_cast<const Operator*>(op); }

struct ActivationName {
  const char* suffix;
  ActivationKind kind;
  const char* a;  // attributes with the parameters
  const char* b;
};

constexpr ActivationName kActivations[] = {
    {"", ActivationKind::kNone, nullptr, nullptr},
    {"Relu", ActivationKind::kRelu, nullptr, nullptr},
    {"LeakyRelu", ActivationKind::kLeakyRelu, "alpha", nullptr},
    {"Clip", ActivationKind::kClip, "min", "max"},
    {"HardSigmoid", ActivationKind::kHardSigmoid, "alpha", "beta"},
    {"HardSwish", ActivationKind::kHardSwish, nullptr, nullptr},
    {"Sigmoid", ActivationKind::kSigmoid, nullptr, nullptr},
    {"Silu", ActivationKind::kSilu, nullptr, nullptr},
    {"Tanh", ActivationKind::kTanh, nullptr, nullptr},
    {"Gelu", ActivationKind::kGelu, nullptr, nullptr},
    {"GeluTanh", ActivationKind::kGeluTanh, nullptr, nullptr},
};

Activation read_activation(ActivationKind kind, const Info& info) {
  for (const ActivationName& known : kActivations) {
    if (known.kind != kind) continue;
    return {kind, known.a != nullptr ? info.real(known.a) : 0.0F, known.b != nullptr ? info.real(known.b) : 0.0F};
  }
  return {};
}

// Runs `body`; an exception becomes a status. Nothing may be thrown into onnxruntime.
template <typename Body>
abi::Status* guarded(abi::Table table, const Body& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const BadInput& error) {
    return abi::CreateStatus::call(table, abi::ErrorCode::kInvalidArgument, error.what());
  } catch (const std::bad_alloc&) {
    return abi::CreateStatus::call(table, abi::ErrorCode::kFail, "onnxprune: out of memory.");
  } catch (const std::exception& error) {
    return abi::CreateStatus::call(table, abi::ErrorCode::kFail, error.what());
  } catch (...) {
    return abi::CreateStatus::call(table, abi::ErrorCode::kFail, "onnxprune: an unknown failure.");
  }
}

abi::Status* create(const abi::CustomOp* op, abi::Table table, const abi::KernelInfo* info, void** kernel) noexcept {
  return guarded(table, [&] {
    const Operator& self = own(op);
    const Info known(table, info);
    const Activation activation = read_activation(self.activation, known);
    if (self.cuda) {
      const auto make = self.family == Family::kMatMul ? cuda::make_matmul : cuda::make_conv;
      *kernel = make(table, known, activation, self.type, self.provider != nullptr).release();
      return;
    }
    const auto make = self.family == Family::kMatMul ? make_matmul : make_conv;
    *kernel = make(table, known, *self.isa, activation, self.type).release();
  });
}

abi::Status* compute(void* kernel, abi::KernelContext* context) noexcept {
  const auto& self = *static_cast<const Kernel*>(kernel);
  return guarded(self.table(), [&] { self.compute(Context(self.table(), context)); });
}

abi::Status* infer(const abi::CustomOp* op, abi::ShapeInferContext* context) noexcept {
  const Operator& self = own(op);
  infer_shape(self.table, context, self.family);
  return nullptr;  // onnxruntime looks at no status here; what cannot be inferred is left open
}

// The callbacks of older tables; onnxruntime calls those with "v2" where a descriptor has them.
void* create_v1(const abi::CustomOp* op, abi::Table table, const abi::KernelInfo* info) noexcept {
  void* kernel = nullptr;
  if (abi::Status* status = create(op, table, info, &kernel)) abi::ReleaseStatus::call(table, status);
  return kernel;
}

void compute_v1(void* kernel, abi::KernelContext* context) noexcept {
  if (abi::Status* status = compute(kernel, context)) {
    abi::ReleaseStatus::call(static_cast<const Kernel*>(kernel)->table(), status);
  }
}

void fill_callbacks(Operator& op) {
  op.version = abi::kApiVersion;
  op.create_kernel = create_v1;
  op.create_kernel_v2 = create;
  op.compute = compute_v1;
  op.compute_v2 = compute;
  op.destroy = [](void* kernel) noexcept { delete static_cast<Kernel*>(kernel); };
  op.get_name = [](const abi::CustomOp* self) noexcept { return own(self).name.c_str(); };
  op.get_provider = [](const abi::CustomOp* self) noexcept { return own(self).provider; };
  op.get_input_count = [](const abi::CustomOp*) noexcept -> std::size_t { return 4; };
  op.get_output_count = [](const abi::CustomOp*) noexcept -> std::size_t { return 1; };
  op.get_input_type = [](const abi::CustomOp* self, std::size_t place) noexcept {
    return place == kIndexPlace ? ElementType::kInt64 : own(self).type;
  };
  op.get_output_type = [](const abi::CustomOp* self, std::size_t) noexcept { return own(self).type; };
  op.get_input_presence = [](const abi::CustomOp*, std::size_t place) noexcept {
    return place == 3 ? abi::Presence::kOptional : abi::Presence::kRequired;
  };
  op.get_output_presence = [](const abi::CustomOp*, std::size_t) noexcept { return abi::Presence::kRequired; };
  op.get_input_memory = [](const abi::CustomOp* self, std::size_t place) noexcept {
    // the index is read by the host
    return own(self).provider != nullptr && place == kIndexPlace ? abi::MemoryKind::kCpuInput
                                                                 : abi::MemoryKind::kDefault;
  };
  op.get_variadic_input_arity = [](const abi::CustomOp*) noexcept { return 1; };
  op.get_variadic_input_homogeneity = [](const abi::CustomOp*) noexcept { return 1; };
  op.get_variadic_output_arity = [](const abi::CustomOp*) noexcept { return 1; };
  op.get_variadic_output_homogeneity = [](const abi::CustomOp*) noexcept { return 1; };
  op.infer_shape = infer;
  op.get_start_version = [](const abi::CustomOp*) noexcept { return kFirstVersion; };
  op.get_end_version = [](const abi::CustomOp*) noexcept { return kLastVersion; };
  op.get_may_inplace = nullptr;
  op.release_may_inplace = nullptr;
  op.get_alias_map = nullptr;
  op.release_alias_map = nullptr;
}

// The operators in their domain, for one onnxruntime. They live as long as the process: sessions refer to them.
struct Registration {
  std::deque<Operator> operators;  // addresses stay
  abi::OpDomain* domain = nullptr;
  bool complete = false;
};

constexpr ElementType kCpuTypes[] = {ElementType::kFloat, ElementType::kFloat16, ElementType::kBFloat16,
                                     ElementType::kDouble};
constexpr ElementType kCudaTypes[] = {ElementType::kFloat, ElementType::kFloat16, ElementType::kBFloat16};

// What is the same for all operators of a registration.
struct Common {
  abi::Table table;
  const Isa* isa;
  bool cuda;
  const char* provider;
};

void add(Registration& made, const Common& common, ElementType type) {
  const std::pair<Family, const char*> families[] = {{Family::kMatMul, "BlockSparseMatMul"},
                                                     {Family::kConv, "BlockSparseConv"}};
  for (const auto& [family, base] : families) {
    for (const ActivationName& activation : kActivations) {
      Operator& op = made.operators.emplace_back();
      fill_callbacks(op);
      op.name = std::string(base) + activation.suffix;
      op.family = family;
      op.activation = activation.kind;
      op.type = type;
      op.isa = common.isa;
      op.table = common.table;
      op.cuda = common.cuda;
      op.provider = common.provider;
      check(common.table, abi::CustomOpDomainAdd::call(common.table, made.domain, &op));
    }
  }
}

void fill(Registration& made, abi::Table table, const Isa& isa, Selection selection) {
  if (made.domain != nullptr) throw std::runtime_error("onnxprune: an earlier registration failed half-way.");
  check(table, abi::CreateCustomOpDomain::call(table, kDomain, &made.domain));
  if (selection != Selection::kEmulatedCuda) {
    for (const ElementType type : kCpuTypes) add(made, {table, &isa, false, nullptr}, type);
  }
  if (selection != Selection::kCpu) {
    const char* const provider = selection == Selection::kCpuAndCuda ? kCudaProvider : nullptr;
    for (const ElementType type : kCudaTypes) add(made, {table, &isa, true, provider}, type);
  }
  made.complete = true;
}

}  // namespace
}  // namespace onnxprune

ONNXPRUNE_EXPORT onnxprune::abi::Status* RegisterCustomOps(onnxprune::abi::SessionOptions* options,
                                                           const onnxprune::abi::ApiBase* base) {
  using namespace onnxprune;
  const abi::Table table = base->get_api(abi::kApiVersion);
  if (table == nullptr) {
    return abi::CreateStatus::call(base->get_api(1), abi::ErrorCode::kFail,
                                   "The block-sparse operators of onnxprune need onnxruntime 1.18 or newer.");
  }
  return guarded(table, [&] {
    const Isa* const isa = find_isa();
    if (isa == nullptr) return;
    using Key = std::tuple<abi::Table, const Isa*, Selection>;
    // never destroyed: sessions may outlive the static objects of this library
    static auto* const registrations = new std::map<Key, Registration>;
    static std::mutex mutex;
    const std::lock_guard<std::mutex> lock(mutex);
    Registration& made = (*registrations)[{table, isa, selected}];
    if (!made.complete) fill(made, table, *isa, selected);
    check(table, abi::AddCustomOpDomain::call(table, options, made.domain));
  });
}

// Chooses the kernels of registrations that follow on this thread: 0 those of the CPU, 1 those of CUDA as well, 2, for
// tests, those of CUDA alone on a device that is emulated.
ONNXPRUNE_EXPORT void onnxprune_kernels_select(int selection) {
  onnxprune::selected = static_cast<onnxprune::Selection>(selection);
}

// The version of the operators that this library computes.
ONNXPRUNE_EXPORT int onnxprune_kernels_version() { return onnxprune::kLastVersion; }

// The instruction set that sessions registered now will use; empty where there are no kernels for this machine.
ONNXPRUNE_EXPORT const char* onnxprune_kernels_isa() {
  const onnxprune::Isa* const isa = onnxprune::find_isa();
  return isa == nullptr ? "" : isa->name;
}
