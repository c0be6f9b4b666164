#include "model_compiler.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>

#include "error.hpp"
#include "posix.hpp"
#include "python_program.hpp"

namespace dovetail {

namespace {

Status status_of(const std::string& kind) {
  static const std::map<std::string, Status> statuses{
      {"CorruptDataError", Status::corrupt},
      {"FormatVersionError", Status::format_version},
      {"EngineUnavailableError", Status::unavailable},
      {"TransportTimeoutError", Status::timeout},
      {"UnsupportedDataError", Status::unsupported},
      {"ValueError", Status::argument},
      {"PermissionError", Status::system}};
  const auto found = statuses.find(kind);
  return found == statuses.end() ? Status::model_failed : found->second;
}

[[noreturn]] void throw_answer(const ProgramAnswer& answer, const std::string& path) {
  if (answer.errors.find("No module named 'dovetail'") != std::string::npos) {
    throw Error(Status::unavailable,
                "the Python in PATH has no Dovetail to compile " + path +
                    " with: install it there, name another one with DOVETAIL_PYTHON, or load a "
                    "folder that `dovetail model compile` made");
  }
  const auto end = answer.errors.find_last_not_of("\n ");
  const auto whole = end == std::string::npos ? "" : answer.errors.substr(0, end + 1);
  const auto last = whole.rfind('\n');
  throw Error(Status::model_failed,
              path + " cannot be compiled: Python ended with status " +
                  std::to_string(answer.status) + ": " +
                  (last == std::string::npos ? whole : whole.substr(last + 1)));
}

}  // namespace

std::string compiled_folder(const std::string& path, const std::string& device, bool one_thread,
                            double seconds) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) throw_system_error("cannot load the model", path, errno);
  if (S_ISDIR(status.st_mode)) return path;
  const auto answer =
      run_python({"-c", "import sys; from dovetail.model.compiling import main; sys.exit(main())",
                  path, "--device", device, "--threads", one_thread ? "one" : "many", "--timeout",
                  std::to_string(seconds)},
                 seconds + 10);
  const auto json = nlohmann::json::parse(answer.last_line(), nullptr, false);
  if (!json.is_object()) throw_answer(answer, path);
  if (const auto folder = json.find("folder"); folder != json.end() && folder->is_string()) {
    return folder->get<std::string>();
  }
  const auto kind = json.value("error", std::string());
  throw Error(status_of(kind), json.value("message", kind), kind == "PermissionError" ? EACCES : 0);
}

}  // namespace dovetail
