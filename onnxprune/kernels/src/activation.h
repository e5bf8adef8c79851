// The activations that an operator may end with.
#pragma once

namespace onnxprune {

enum class ActivationKind : int {
  kNone,
  kRelu,
  kLeakyRelu,    // a = alpha
  kClip,         // a = min, b = max
  kHardSigmoid,  // a = alpha, b = beta
  kHardSwish,
  kSigmoid,
  kSilu,
  kTanh,
  kGelu,
  kGeluTanh,
};

struct Activation {
  ActivationKind kind = ActivationKind::kNone;
  float a = 0.0F;
  float b = 0.0F;
};

}  // namespace onnxprune
