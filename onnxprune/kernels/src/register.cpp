// What onnxruntime calls: the entry point of the library, and the descriptors of its operators.
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "infer_shape.h"
#include "kernel.h"

#define ONNXPRUNE_EXPORT extern "C" __attribute__((visibility("default")))

namespace onnxprune {

namespace {

constexpr const char* kDomain = "onnxprune";
constexpr int kFirstVersion = 1, kLastVersion = 1;  // of the operators

// One operator for one element type, with what its callbacks need to know.
struct Operator : abi::CustomOp {
  std::string name;
  Family family;
  ActivationKind activation;
  ElementType type;
  const Isa* isa;
  abi::Table table;
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
  op.get_provider = [](const abi::CustomOp*) noexcept -> const char* { return nullptr; };
  op.get_input_count = [](const abi::CustomOp*) noexcept -> std::size_t { return 4; };
  op.get_output_count = [](const abi::CustomOp*) noexcept -> std::size_t { return 1; };
  op.get_input_type = [](const abi::CustomOp* self, std::size_t place) noexcept {
    return place == 2 ? ElementType::kInt64 : own(self).type;
  };
  op.get_output_type = [](const abi::CustomOp* self, std::size_t) noexcept { return own(self).type; };
  op.get_input_presence = [](const abi::CustomOp*, std::size_t place) noexcept {
    return place == 3 ? abi::Presence::kOptional : abi::Presence::kRequired;
  };
  op.get_output_presence = [](const abi::CustomOp*, std::size_t) noexcept { return abi::Presence::kRequired; };
  op.get_input_memory = [](const abi::CustomOp*, std::size_t) noexcept { return 0; };
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

void fill(Registration& made, abi::Table table, const Isa& isa) {
  if (made.domain != nullptr) throw std::runtime_error("onnxprune: an earlier registration failed half-way.");
  check(table, abi::CreateCustomOpDomain::call(table, kDomain, &made.domain));
  const std::pair<Family, const char*> families[] = {{Family::kMatMul, "BlockSparseMatMul"},
                                                     {Family::kConv, "BlockSparseConv"}};
  for (const auto& [family, base] : families) {
    for (const ActivationName& activation : kActivations) {
      for (const ElementType type : {ElementType::kFloat, ElementType::kFloat16, ElementType::kDouble}) {
        Operator& op = made.operators.emplace_back();
        fill_callbacks(op);
        op.name = std::string(base) + activation.suffix;
        op.family = family;
        op.activation = activation.kind;
        op.type = type;
        op.isa = &isa;
        op.table = table;
        check(table, abi::CustomOpDomainAdd::call(table, made.domain, &op));
      }
    }
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
    using Key = std::pair<abi::Table, const Isa*>;
    // never destroyed: sessions may outlive the static objects of this library
    static auto* const registrations = new std::map<Key, Registration>;
    static std::mutex mutex;
    const std::lock_guard<std::mutex> lock(mutex);
    Registration& made = (*registrations)[{table, isa}];
    if (!made.complete) fill(made, table, *isa);
    check(table, abi::AddCustomOpDomain::call(table, options, made.domain));
  });
}

// The version of the operators that this library computes.
ONNXPRUNE_EXPORT int onnxprune_kernels_version() { return onnxprune::kLastVersion; }

// The instruction set that sessions registered now will use; empty where there are no kernels for this machine.
ONNXPRUNE_EXPORT const char* onnxprune_kernels_isa() {
  const onnxprune::Isa* const isa = onnxprune::find_isa();
  return isa == nullptr ? "" : isa->name;
}
