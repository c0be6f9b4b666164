// A compiled model as it lies in its folder:
//
//   dovetail.json   what it takes and gives, and what it was compiled for
//   model.so        the code, with a plain C interface (AOTInductor's)
//   …               whatever else the code reads
//
// and that code, loaded.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "torch_library.hpp"

namespace dovetail {

constexpr std::size_t most_model_axes = 16;

// An extent that is a number, or a name: the same name stands for the same number in every array
// of a call. Neither: it is known only afterwards.
struct ModelExtent {
  std::int64_t number = -1;
  int name = -1;  // an index into ModelSpec::names
};

struct ModelArraySpec {
  std::string name;
  std::string code;    // the dtype, as the format spells it: "F32"
  std::int32_t dtype;  // as the C interface numbers it
  std::vector<ModelExtent> shape;
  bool told = true;    // false of TorchScript: dtype and shape are known only of what it is given
  bool used = true;    // of a weight: the computation reads it
  bool finite = true;  // of a weight: it was, when the model was exported
};

struct ModelName {
  std::string name;
  std::int64_t least = 0, most = INT64_MAX;
};

struct ModelSpec {
  std::vector<ModelArraySpec> inputs, outputs, weights;
  std::vector<ModelName> names;
  std::string torch;   // that it was compiled with
  std::string device;  // cpu, cuda or xpu
  std::uint64_t code_bytes = 0;
  bool one_thread = true;
  bool script = false;  // TorchScript behind the interface of compiled code
};

// The numbers of element types in the C interface, and how many bytes an element takes.
std::int32_t model_dtype_of(const std::string& code);
const char* model_dtype_name(std::int32_t dtype);
std::int64_t model_item_bytes(std::int32_t dtype);

// "float32 (batch, 8)"
std::string text_of(const ModelArraySpec& array, const ModelSpec& spec);
std::string text_of(const std::int64_t* shape, std::size_t rank);

// Of the compiled model in a folder; its code is not touched. Throws Error: corrupt,
// format_version, unavailable (for another processor).
ModelSpec read_model_spec(const std::string& folder);

// The functions of a compiled model.
struct AotContainer;
struct AotWeight {
  const char* name;
  AtenTensor* tensor;
};

class ModelPackage {
 public:
  // Throws Error: corrupt, format_version (compiled with a newer torch), unavailable (for another
  // device or processor, or torch is missing). `torch_hint` is where to look for libtorch first.
  static std::shared_ptr<const ModelPackage> load(const std::string& folder,
                                                  const std::string& torch_hint);

  std::string folder;
  ModelSpec spec;
  const TorchLibrary* torch = nullptr;

  using Code = std::int32_t;
  Code (*create)(AotContainer** made, std::size_t count, const char* device, const char* cubins);
  Code (*destroy)(AotContainer* container);
  Code (*run)(AotContainer* container, AtenTensor** inputs, std::size_t input_count,
              AtenTensor** outputs, std::size_t output_count, void* stream, void* proxy);
  Code (*count_inputs)(AotContainer* container, std::size_t* count);
  Code (*count_outputs)(AotContainer* container, std::size_t* count);
  Code (*count_weights)(AotContainer* container, std::size_t* count);
  Code (*weight_name)(AotContainer* container, std::size_t which, const char** name);
  Code (*weight_origin)(AotContainer* container, std::size_t which, const char** name);
  // Nothing in code that an older torch compiled.
  Code (*update)(AotContainer* container, const AotWeight* weights, std::size_t count,
                 bool inactive, bool complete) = nullptr;
  Code (*last_error)(const char** text) = nullptr;

  // What the code or libtorch said last in this thread, on one line.
  std::string reason() const;

 private:
  void open_code();
};

}  // namespace dovetail
