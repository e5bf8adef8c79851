// A kernel: one node of a session.
#pragma once

#include <memory>

#include "activation.h"
#include "isa.h"
#include "memory.h"
#include "ort.h"

namespace onnxprune {

class Kernel {
 public:
  explicit Kernel(abi::Table table) : table_(table) { ScratchPool::shared().enter(); }
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;
  virtual ~Kernel() { ScratchPool::shared().leave(); }

  // Computes one call. Several threads may call it at once.
  virtual void compute(const Context& context) const = 0;

  abi::Table table() const { return table_; }

 private:
  abi::Table table_;
};

std::unique_ptr<Kernel> make_matmul(abi::Table table, const Info& info, const Isa& isa, const Activation& activation,
                                    ElementType type);
std::unique_ptr<Kernel> make_conv(abi::Table table, const Info& info, const Isa& isa, const Activation& activation,
                                  ElementType type);

}  // namespace onnxprune
