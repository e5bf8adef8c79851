// A device emulated on the CPU, for the source of the kernels: what cuda_machine.inc has for a real one.
//
// The threads of a block are fibers that take turns; one runs until it waits, for a barrier or for its warp. So each
// run is the same, races show as wrong numbers (blocks of even number take turns in one order, odd ones in the other),
// and a barrier that some thread never reaches is found. Shared memory starts as NaN. Asynchronous copies happen when
// they are waited for, or else when they are started: a device may do either.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define ONNXPRUNE_EMULATED
#define DEVICE inline
#define OUTLINED static
#define KERNEL(threads, blocks) static void
#define UNROLL
#define SHARED_MEMORY(name) unsigned char* const name = emulated::shared()
#define __grid_constant__
#define threadIdx (emulated::thread_place())
#define blockIdx (emulated::block_place())
#define gridDim (emulated::grid())

struct Place {
  unsigned x, y, z;
};
struct float2 {
  float x, y;
};
struct float4 {
  float x, y, z, w;
};
struct uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }

namespace emulated {

unsigned char* shared();
const Place& thread_place();
const Place& block_place();
const Place& grid();

void copy_async(unsigned to, const void* from, bool real);
void end_copies();
void wait_copies(int left);
void barrier();
void load_matrices(unsigned (&r)[4], unsigned address);

// c [16, 8] += a [16, 32 bytes] · b [32 bytes, 8], spread over a warp as mma.sync has it. `value` reads an element of a
// fragment, `elements` of them in a register.
using Value = float (*)(unsigned reg, int element);
void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, int elements, Value value);

// Tells the driver of a kernel.
struct Registered {
  Registered(int element, const char* name, void (*run)(const void* argument));
};

inline float float_of(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline unsigned bits_of(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

}  // namespace emulated
