#include "cuda_program.h"

namespace onnxprune::cuda {

const char* source() {
  return
#include "cuda_machine.inc"
#include "cuda_layer.inc"
#include "cuda_product.inc"
#include "cuda_copies.inc"
      ;
}

}  // namespace onnxprune::cuda
