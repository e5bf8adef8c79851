// A CUDA driver and an NVRTC whose device is emulated: the host's memory is the device's.
//
// EMULATED_DRIVER is the version of CUDA that the driver serves (99000), NVRTC has that which its file's name ends with
// behind "nvrtc.so." (13). EMULATED_EARLY_COPIES has asynchronous copies happen as soon as they are started.
// EMULATED_ARCHITECTURE is what the device says it is (90), EMULATED_NVRTC_FAILS makes compiling fail,
// EMULATED_NVRTC_KNOWS is the newest architecture that NVRTC knows beside 50 (120), EMULATED_PROCESSORS is the number of
// processors (4). `emulated_compilations` counts, `emulated_option` is the first of the last compilation.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "machine.h"

namespace emulated {
namespace {

constexpr unsigned kSharedBytes = 227 * 1024;
constexpr std::size_t kStackBytes = 64 * 1024;
constexpr int kWarp = 32;

struct Copy {
  unsigned to;
  const void* from;
  bool real;
};

struct Warp {
  int arrived = 0;
  unsigned turn = 0;
  unsigned addresses[kWarp];
  unsigned a[kWarp][4], b[kWarp][2];
  float* c[kWarp];
  unsigned* out[kWarp];
};

struct Fiber {
  void* stack_pointer = nullptr;
  Place place{};
  bool done = false;
  std::vector<std::vector<Copy>> groups;
  std::vector<Copy> started;
};

alignas(128) unsigned char memory[kSharedBytes];
std::vector<unsigned char> stacks;
std::vector<Fiber> fibers;
std::vector<Warp> warps;
Fiber* running = nullptr;
void* scheduler_stack = nullptr;
Place block{}, grid_size{};
void (*kernel)(const void*) = nullptr;
const void* argument = nullptr;
int arrived = 0;
unsigned turn = 0;
bool progressed = false;
unsigned shared_bytes = 0;
bool early = false;  // whether copies happen when they are started

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "emulated device: %s (thread %u of block %u)\n", what, running ? running->place.x : 0, block.x);
  std::abort();
}

extern "C" void emulated_switch(void** save, void* to);
asm(R"(
.text
.globl emulated_switch
.hidden emulated_switch
emulated_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

void yield() { emulated_switch(&running->stack_pointer, scheduler_stack); }

void enter() {
  kernel(argument);
  running->done = true;
  progressed = true;
  yield();
  fail("a thread goes on behind its end");
}

// Waits until all of a group have arrived; the last runs `act` before they go on.
template <typename Act>
void meet(int& count, unsigned& round, int all, const Act& act) {
  progressed = true;
  const unsigned mine = round;
  if (++count == all) {
    act();
    count = 0;
    ++round;
    return;
  }
  while (round == mine) yield();
  progressed = true;
}

Warp& own_warp() { return warps[running->place.x / kWarp]; }

void run_block(unsigned threads, bool reversed) {
  std::memset(memory, 0xff, sizeof(memory));
  arrived = 0;
  warps.assign(threads / kWarp, Warp{});
  fibers.assign(threads, Fiber{});
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& fiber = fibers[i];
    fiber.place = {i, 0, 0};
    auto top = reinterpret_cast<std::uintptr_t>(stacks.data() + (i + 1) * kStackBytes) & ~std::uintptr_t{15};
    auto* stack = reinterpret_cast<void**>(top);
    *--stack = nullptr;  // the place of a caller: the stack stands as behind a call
    *--stack = reinterpret_cast<void*>(&enter);
    stack -= 6;
    for (int r = 0; r < 6; ++r) stack[r] = nullptr;
    fiber.stack_pointer = stack;
  }
  for (bool left = true; left;) {
    left = false;
    progressed = false;
    for (unsigned i = 0; i < threads; ++i) {
      running = &fibers[reversed ? threads - 1 - i : i];
      if (running->done) continue;
      left = true;
      emulated_switch(&scheduler_stack, running->stack_pointer);
    }
    if (left && !progressed) fail("threads wait for others that never come");
  }
  for (const Fiber& fiber : fibers) {
    if (!fiber.groups.empty() || !fiber.started.empty()) {
      for (const auto& group : fiber.groups) {
        if (!group.empty()) fail("a copy is never waited for");
      }
    }
  }
}

using Kernels = std::map<std::pair<int, std::string>, void (*)(const void*)>;
Kernels& kernels() {
  static Kernels known;
  return known;
}

}  // namespace

unsigned char* shared() { return memory; }
const Place& thread_place() { return running->place; }
const Place& block_place() { return block; }
const Place& grid() { return grid_size; }

Registered::Registered(int element, const char* name, void (*run)(const void*)) { kernels()[{element, name}] = run; }

namespace {

void move(const Copy& copy) {
  if (copy.real) {
    std::memcpy(memory + copy.to, copy.from, 16);
  } else {
    std::memset(memory + copy.to, 0, 16);
  }
}

}  // namespace

void copy_async(unsigned to, const void* from, bool real) {
  if (to % 16 != 0 || to + 16 > shared_bytes) fail("an asynchronous copy goes astray");
  if (reinterpret_cast<std::uintptr_t>(from) % 16 != 0) fail("an asynchronous copy of unaligned memory");
  if (early) {
    move({to, from, real});
    return;
  }
  running->started.push_back({to, from, real});
}

void end_copies() {
  running->groups.push_back(std::move(running->started));
  running->started.clear();
}

void wait_copies(int left) {
  auto& groups = running->groups;
  while (static_cast<int>(groups.size()) > left) {
    for (const Copy& copy : groups.front()) move(copy);
    groups.erase(groups.begin());
  }
}

void barrier() {
  meet(arrived, turn, static_cast<int>(fibers.size()), [] {});
}

void load_matrices(unsigned (&r)[4], unsigned address) {
  Warp& warp = own_warp();
  const int lane = static_cast<int>(running->place.x) % kWarp;
  if (address % 16 != 0 || address + 16 > shared_bytes) fail("a matrix is read astray");
  warp.addresses[lane] = address;
  warp.out[lane] = r;
  meet(warp.arrived, warp.turn, kWarp, [&] {
    for (int l = 0; l < kWarp; ++l) {
      for (int m = 0; m < 4; ++m) std::memcpy(&warp.out[l][m], memory + warp.addresses[8 * m + l / 4] + l % 4 * 4, 4);
    }
  });
}

void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, int elements, Value value) {
  Warp& warp = own_warp();
  const int lane = static_cast<int>(running->place.x) % kWarp;
  std::memcpy(warp.a[lane], a, sizeof(a));
  warp.b[lane][0] = b0;
  warp.b[lane][1] = b1;
  warp.c[lane] = c;
  meet(warp.arrived, warp.turn, kWarp, [&] {
    float left[16][16], right[16][8];
    const int half = 4 * elements;  // of the depth
    for (int l = 0; l < kWarp; ++l) {
      for (int e = 0; e < elements; ++e) {
        const int k = l % 4 * elements + e;
        for (int q = 0; q < 4; ++q) left[l / 4 + q % 2 * 8][k + q / 2 * half] = value(warp.a[l][q], e);
        for (int q = 0; q < 2; ++q) right[k + q * half][l / 4] = value(warp.b[l][q], e);
      }
    }
    for (int l = 0; l < kWarp; ++l) {
      for (int q = 0; q < 4; ++q) {
        float sum = 0.0f;
        for (int k = 0; k < 2 * half; ++k) sum += left[l / 4 + q / 2 * 8][k] * right[k][l % 4 * 2 + q % 2];
        warp.c[l][q] += sum;
      }
    }
  });
}

}  // namespace emulated

using namespace emulated;

namespace {

int number_of(const char* name, int otherwise) {
  const char* const text = std::getenv(name);
  return text != nullptr && *text != '\0' ? std::atoi(text) : otherwise;
}

std::mutex launching;
int compilations = 0;
std::string first_option;
std::vector<std::pair<int, std::string>> functions;  // handles count from 1

struct Program {
  std::string code, log;
};

constexpr int kSuccess = 0, kInvalid = 1, kNotFound = 500, kBadImage = 200, kCompilation = 6;

}  // namespace

extern "C" {

int cuInit(unsigned) { return kSuccess; }
int cuDriverGetVersion(int* version) { return *version = number_of("EMULATED_DRIVER", 99000), kSuccess; }
int cuDeviceGetCount(int* count) { return *count = 1, kSuccess; }
int cuDeviceGet(int* device, int number) { return *device = number, kSuccess; }
int cuDeviceGetName(char* name, int size, int) { return std::snprintf(name, size, "Emulated device"), kSuccess; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
  const int architecture = number_of("EMULATED_ARCHITECTURE", 90);
  switch (attribute) {
    case 75: *value = architecture / 10; return kSuccess;
    case 76: *value = architecture % 10; return kSuccess;
    case 16: *value = number_of("EMULATED_PROCESSORS", 4); return kSuccess;
  }
  return kInvalid;
}
int cuDevicePrimaryCtxRetain(void** context, int) { return *context = &functions, kSuccess; }
int cuCtxPushCurrent_v2(void*) { return kSuccess; }
int cuCtxPopCurrent_v2(void**) { return kSuccess; }
int cuCtxSynchronize() { return kSuccess; }
int cuModuleLoadData(void** module, const void* image) {
  int element = 0;
  if (std::sscanf(static_cast<const char*>(image), "emulated %d", &element) != 1) return kBadImage;
  *module = reinterpret_cast<void*>(static_cast<std::intptr_t>(element + 1));
  return kSuccess;
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
  const int element = static_cast<int>(reinterpret_cast<std::intptr_t>(module)) - 1;
  if (emulated::kernels().count({element, name}) == 0) return kNotFound;
  const std::lock_guard<std::mutex> lock(launching);
  functions.emplace_back(element, name);
  *function = reinterpret_cast<void*>(static_cast<std::intptr_t>(functions.size()));
  return kSuccess;
}
int cuFuncSetAttribute(void*, int, int bytes) { return bytes <= static_cast<int>(kSharedBytes) ? kSuccess : kInvalid; }
int cuMemcpyHtoD_v2(std::uint64_t to, const void* from, std::size_t bytes) {
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return kSuccess;
}
int cuGetErrorString(int, const char** text) { return *text = "the emulated device says no", kSuccess; }

int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned, unsigned,
                   unsigned bytes, void*, void** arguments, void**) {
  const std::lock_guard<std::mutex> lock(launching);
  const auto handle = static_cast<std::size_t>(reinterpret_cast<std::intptr_t>(function));
  if (handle == 0 || handle > functions.size() || bytes > kSharedBytes || x == 0 || y == 0 || z == 0) return kInvalid;
  if (y > 65535 || z > 65535 || threads > 1024 || threads % kWarp != 0) return kInvalid;
  emulated::kernel = emulated::kernels().at(functions[handle - 1]);
  argument = arguments[0];
  shared_bytes = bytes;
  early = number_of("EMULATED_EARLY_COPIES", 0) != 0;
  grid_size = {x, y, z};
  stacks.resize(std::max(stacks.size(), (threads + 1) * kStackBytes));
  for (block.z = 0; block.z < z; ++block.z) {
    for (block.y = 0; block.y < y; ++block.y) {
      for (block.x = 0; block.x < x; ++block.x) run_block(threads, (block.x + block.y) % 2 != 0);
    }
  }
  return kSuccess;
}

int nvrtcVersion(int* major, int* minor) {
  Dl_info about{};
  const bool known = dladdr(reinterpret_cast<void*>(&nvrtcVersion), &about) != 0 && about.dli_fname != nullptr;
  const char* const end = known ? std::strstr(about.dli_fname, "nvrtc.so.") : nullptr;
  return *major = end != nullptr ? std::atoi(end + std::strlen("nvrtc.so.")) : 13, *minor = 0, kSuccess;
}
int nvrtcCreateProgram(void** program, const char* source, const char*, int, const char* const*, const char* const*) {
  return *program = new Program{source, ""}, kSuccess;
}
int nvrtcDestroyProgram(void** program) { return delete static_cast<Program*>(*program), kSuccess; }
int nvrtcCompileProgram(void* made, int count, const char* const* options) {
  auto& program = *static_cast<Program*>(made);
  ++compilations;
  first_option = count > 0 ? options[0] : "";
  if (number_of("EMULATED_NVRTC_FAILS", 0) != 0) return program.log = "it was told\nto fail", kCompilation;
  for (int i = 0; i < count; ++i) {
    int element = 0;
    if (std::sscanf(options[i], "-DELEMENT=%d", &element) == 1) program.code = "emulated " + std::to_string(element);
  }
  return kSuccess;
}
int nvrtcGetCUBINSize(void* program, std::size_t* size) {
  return *size = static_cast<Program*>(program)->code.size() + 1, kSuccess;
}
int nvrtcGetCUBIN(void* program, char* to) { return std::strcpy(to, static_cast<Program*>(program)->code.c_str()), kSuccess; }
int nvrtcGetPTXSize(void* program, std::size_t* size) { return nvrtcGetCUBINSize(program, size); }
int nvrtcGetPTX(void* program, char* to) { return nvrtcGetCUBIN(program, to); }
int nvrtcGetProgramLogSize(void* program, std::size_t* size) {
  return *size = static_cast<Program*>(program)->log.size() + 1, kSuccess;
}
int nvrtcGetProgramLog(void* program, char* to) {
  return std::strcpy(to, static_cast<Program*>(program)->log.c_str()), kSuccess;
}

int nvrtcGetNumSupportedArchs(int* count) { return *count = 8, kSuccess; }
int nvrtcGetSupportedArchs(int* architectures) {
  const int known[] = {50, 75, 80, 86, 89, 90, 100, 120}, newest = number_of("EMULATED_NVRTC_KNOWS", 120);
  for (int i = 0; i < 8; ++i) architectures[i] = std::min(known[i], newest);
  return kSuccess;
}

const char* emulated_option() { return first_option.c_str(); }
int emulated_compilations() { return compilations; }

}  // extern "C"
