#include "model_package.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "error.hpp"
#include "posix.hpp"

namespace dovetail {

namespace {

using Json = nlohmann::json;
constexpr int format = 1;
constexpr std::uint64_t largest_description = 16 * 1024 * 1024;

struct DtypeRow {
  const char* code;
  const char* name;
  std::int64_t bytes;
};
// In the order of the C interface, which begins at 1.
constexpr std::array<DtypeRow, 15> dtypes{{{"BOOL", "bool", 1},
                                           {"I8", "int8", 1},
                                           {"I16", "int16", 2},
                                           {"I32", "int32", 4},
                                           {"I64", "int64", 8},
                                           {"U8", "uint8", 1},
                                           {"U16", "uint16", 2},
                                           {"U32", "uint32", 4},
                                           {"U64", "uint64", 8},
                                           {"F16", "float16", 2},
                                           {"BF16", "bfloat16", 2},
                                           {"F32", "float32", 4},
                                           {"F64", "float64", 8},
                                           {"C64", "complex64", 8},
                                           {"C128", "complex128", 16}}};

[[noreturn]] void throw_corrupt(const std::string& folder, const std::string& why) {
  throw Error(Status::corrupt,
              "the compiled model in " + folder + " is damaged: " + why + ". Compile it again");
}

std::string read_description(const std::string& folder) {
  const auto path = folder + "/dovetail.json";
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    if (errno == ENOENT) {
      throw Error(Status::corrupt, folder +
                                       " holds no compiled model: it has no dovetail.json. "
                                       "Make one with: dovetail model compile");
    }
    throw_system_error("cannot open", path, errno);
  }
  struct stat status{};
  ::fstat(file.get(), &status);
  if (static_cast<std::uint64_t>(status.st_size) > largest_description) {
    throw_corrupt(folder, "dovetail.json is larger than 16 MiB");
  }
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t got = 0;
  while (got < text.size()) {
    const auto count = ::read(file.get(), text.data() + got, text.size() - got);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    got += static_cast<std::size_t>(count);
  }
  text.resize(got);
  return text;
}

ModelExtent extent_from(const Json& json, ModelSpec& spec) {
  ModelExtent extent;
  if (json.is_number_integer()) {
    extent.number = json.get<std::int64_t>();
    if (extent.number < 0) throw std::runtime_error("an extent is negative");
  } else if (json.is_string()) {
    const auto name = json.get<std::string>();
    const auto found = std::find_if(spec.names.begin(), spec.names.end(),
                                    [&](const ModelName& one) { return one.name == name; });
    if (found == spec.names.end()) throw std::runtime_error("the extent " + name + " is unknown");
    extent.name = static_cast<int>(found - spec.names.begin());
  } else if (!json.is_null()) {
    throw std::runtime_error("an extent is neither a number nor a name");
  }
  return extent;
}

std::vector<ModelArraySpec> arrays_from(const Json& json, ModelSpec& spec) {
  std::vector<ModelArraySpec> arrays;
  for (const auto& entry : json) {
    ModelArraySpec array;
    array.name = entry.at("name").get<std::string>();
    array.told = !entry.at("dtype").is_null();
    if (!array.told) {
      array.dtype = 0;
      arrays.push_back(std::move(array));
      continue;
    }
    array.code = entry.at("dtype").get<std::string>();
    array.dtype = model_dtype_of(array.code);
    if (array.dtype == 0) throw std::runtime_error("there is no dtype " + array.code);
    for (const auto& extent : entry.at("shape")) array.shape.push_back(extent_from(extent, spec));
    if (array.shape.size() > most_model_axes) throw std::runtime_error("too many axes");
    array.used = entry.value("used", true);
    array.finite = entry.value("finite", true);
    arrays.push_back(std::move(array));
  }
  return arrays;
}

ModelSpec spec_from(const Json& json) {
  ModelSpec spec;
  for (const auto& [name, bounds] : json.at("extents").items()) {
    ModelName one{name};
    if (!bounds.at(0).is_null()) one.least = bounds.at(0).get<std::int64_t>();
    if (!bounds.at(1).is_null()) one.most = bounds.at(1).get<std::int64_t>();
    spec.names.push_back(std::move(one));
  }
  spec.inputs = arrays_from(json.at("inputs"), spec);
  spec.outputs = arrays_from(json.at("outputs"), spec);
  spec.weights = arrays_from(json.at("weights"), spec);
  spec.torch = json.at("torch").get<std::string>();
  spec.device = json.at("device").get<std::string>();
  spec.code_bytes = json.at("code_bytes").get<std::uint64_t>();
  spec.script = json.value("script", false);
  spec.one_thread = json.at("threads").get<std::string>() == "one";
  return spec;
}

std::set<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::set<std::string> words;
  for (std::string word; stream >> word;) words.insert(word);
  return words;
}

// What the processor can do, as the kernel names it; empty where it does not tell.
std::set<std::string> processor_features() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) == 0 || line.rfind("Features", 0) == 0) {
      return words_of(line.substr(line.find(':') + 1));
    }
  }
  return {};
}

void check_processor(const Json& json, const std::string& folder) {
  const auto needed = words_of(json.at("processor").get<std::string>());
  const auto here = processor_features();
  if (here.empty()) return;
  for (const auto& feature : needed) {
    if (here.count(feature) == 0) {
      throw Error(Status::unavailable,
                  "the model in " + folder + " was compiled for a processor with " + feature +
                      ", which this one lacks: compile it again on this machine");
    }
  }
}

void check_torch(const ModelSpec& spec, const TorchLibrary& torch, const std::string& folder) {
  unsigned major = 0, minor = 0;
  if (std::sscanf(spec.torch.c_str(), "%u.%u", &major, &minor) != 2) {
    throw_corrupt(folder, "'" + spec.torch + "' is no version of torch");
  }
  if (std::pair(major, minor) > std::pair(torch.major, torch.minor)) {
    throw Error(Status::format_version,
                "the model in " + folder + " was compiled with torch " + spec.torch +
                    ", newer than the torch " + torch.version() + " in " + torch.path +
                    ": compile it again with this one, or name a newer one with "
                    "DOVETAIL_LIBTORCH");
  }
}

}  // namespace

std::int32_t model_dtype_of(const std::string& code) {
  for (std::size_t index = 0; index < dtypes.size(); ++index) {
    if (code == dtypes[index].code) return static_cast<std::int32_t>(index + 1);
  }
  return 0;
}

const char* model_dtype_name(std::int32_t dtype) {
  if (dtype < 1 || dtype > static_cast<std::int32_t>(dtypes.size())) return "no dtype";
  return dtypes[static_cast<std::size_t>(dtype - 1)].name;
}

std::int64_t model_item_bytes(std::int32_t dtype) {
  if (dtype < 1 || dtype > static_cast<std::int32_t>(dtypes.size())) return 0;
  return dtypes[static_cast<std::size_t>(dtype - 1)].bytes;
}

std::string text_of(const std::int64_t* shape, std::size_t rank) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < rank; ++axis) {
    text += (axis > 0 ? ", " : "") + std::to_string(shape[axis]);
  }
  return text + (rank == 1 ? ",)" : ")");
}

std::string text_of(const ModelArraySpec& array, const ModelSpec& spec) {
  if (!array.told) return "what the script takes";
  std::string text = std::string(model_dtype_name(array.dtype)) + " (";
  for (std::size_t axis = 0; axis < array.shape.size(); ++axis) {
    const auto& extent = array.shape[axis];
    text += axis > 0 ? ", " : "";
    if (extent.number >= 0) {
      text += std::to_string(extent.number);
    } else {
      text += extent.name >= 0 ? spec.names[static_cast<std::size_t>(extent.name)].name : "?";
    }
  }
  return text + (array.shape.size() == 1 ? ",)" : ")");
}

ModelSpec read_model_spec(const std::string& folder) {
  const auto text = read_description(folder);
  const auto json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) throw_corrupt(folder, "dovetail.json is no JSON");
  try {
    if (const int found = json.at("format").get<int>(); found != format) {
      throw Error(Status::format_version, "the compiled model in " + folder + " has the format " +
                                              std::to_string(found) + ", and this Dovetail reads " +
                                              std::to_string(format) + ": compile it again");
    }
    auto spec = spec_from(json);
    check_processor(json, folder);
    return spec;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw_corrupt(folder, std::string("dovetail.json: ") + error.what());
  }
}

std::shared_ptr<const ModelPackage> ModelPackage::load(const std::string& folder,
                                                       const std::string& torch_hint) {
  const auto package = std::make_shared<ModelPackage>();
  package->folder = folder;
  package->spec = read_model_spec(folder);
  package->torch = &TorchLibrary::of_process(torch_hint);
  check_torch(package->spec, *package->torch, folder);
  package->torch->load_for(package->spec.device);
  package->open_code();
  return package;
}

void ModelPackage::open_code() {
  const auto path = folder + "/model.so";
  // What is shorter than it says would end the process, not fail, when it is mapped.
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) throw_system_error("cannot open", path, errno);
  if (static_cast<std::uint64_t>(status.st_size) != spec.code_bytes) {
    throw_corrupt(folder, "model.so has " + std::to_string(status.st_size) + " bytes and not " +
                              std::to_string(spec.code_bytes));
  }
  // Never unloaded: what it keeps for a thread is destroyed when the thread ends.
  void* const handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const std::string why = ::dlerror();
    if (why.find("undefined symbol") != std::string::npos) {
      throw Error(Status::format_version, "the model in " + folder + " needs what the torch " +
                                              torch->version() + " in " + torch->path + " lacks (" +
                                              why.substr(why.find("undefined symbol")) +
                                              "): compile it again with this one");
    }
    throw_corrupt(folder, why);
  }
  const auto take_if_there = [&](auto& pointer, const char* name) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(::dlsym(handle, name));
  };
  const auto take = [&](auto& pointer, const char* name) {
    take_if_there(pointer, name);
    if (pointer == nullptr) throw_corrupt(folder, std::string("model.so lacks ") + name);
  };
  take(create, "AOTInductorModelContainerCreateWithDevice");
  take(destroy, "AOTInductorModelContainerDelete");
  take_if_there(run, "AOTInductorModelContainerRunSingleThreaded");
  if (run == nullptr) take(run, "AOTInductorModelContainerRun");
  take(count_inputs, "AOTInductorModelContainerGetNumInputs");
  take(count_outputs, "AOTInductorModelContainerGetNumOutputs");
  take(count_weights, "AOTInductorModelContainerGetNumConstants");
  take(weight_name, "AOTInductorModelContainerGetConstantName");
  take(weight_origin, "AOTInductorModelContainerGetConstantOriginalFQN");
  take_if_there(update, spec.device == "cpu"
                            ? "AOTInductorModelContainerUpdateConstantBufferPairs"
                            : "AOTInductorModelContainerUpdateConstantBufferFromCpuPairs");
  take_if_there(last_error, "AOTInductorGetLastError");
}

std::string ModelPackage::reason() const {
  const char* text = nullptr;
  std::string said;
  if (last_error != nullptr && last_error(&text) == 0 && text != nullptr) said = text;
  said = said.substr(0, said.find('\n'));
  const auto torch_said = torch->last_error();
  if (said.empty()) return torch_said.empty() ? "no reason was given" : torch_said;
  return torch_said.empty() || said.find(torch_said) != std::string::npos
             ? said
             : said + ": " + torch_said;
}

}  // namespace dovetail
