#include "python_call.hpp"

#include <nlohmann/json.hpp>

#include "error.hpp"
#include "python_interpreter.hpp"
#include "utf8.hpp"

namespace dovetail {

namespace {

using Json = nlohmann::json;

[[noreturn]] void refuse(const std::string& message) { throw Error(Status::argument, message); }

void check_function(const std::string& name) {
  const auto colon = name.find(':');
  const bool whole = colon != std::string::npos && colon > 0 && colon + 1 < name.size() &&
                     name.find(':', colon + 1) == std::string::npos;
  if (whole && is_utf8(name)) return;
  refuse("'" + name.substr(0, 200) + "' names no function: it takes \"module:function\"");
}

Json settings_in(const char* text) {
  if (text == nullptr) return Json::object();
  auto settings = Json::parse(text, nullptr, false);
  if (settings.is_object()) return settings;
  refuse("the settings are no JSON object: " + std::string(text).substr(0, 200));
}

Json described(const GivenArray& array) {
  return {{"name", array.name},
          {"address", reinterpret_cast<std::uintptr_t>(array.data)},
          {"dtype", name_of(array.dtype)},
          {"shape", array.shape},
          {"strides", array.strides}};
}

}  // namespace

std::string call_python(const std::string& function, const std::vector<GivenArray>& arrays,
                        const char* settings, bool wanted) {
  check_function(function);
  Json request{{"function", function}, {"settings", settings_in(settings)}, {"answered", wanted}};
  auto names = request["settings"];
  auto& given = request["arrays"] = Json::array();
  for (const auto& array : arrays) {
    if (names.contains(array.name)) {
      refuse("'" + array.name + "' is given twice: arrays and settings share their names");
    }
    names[array.name] = nullptr;
    given.push_back(described(array));
  }
  auto answer = ask_interpreter(request.dump());
  switch (answer.outcome) {
    case PythonAnswer::Outcome::ok:
      break;
    case PythonAnswer::Outcome::unavailable:
      throw Error(Status::unavailable, answer.text);
    case PythonAnswer::Outcome::failed:
      throw Error(Status::python_failed, answer.text);
  }
  return std::move(answer.text);
}

}  // namespace dovetail
