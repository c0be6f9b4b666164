#include "python_interpreter.hpp"

#include <dlfcn.h>
#include <link.h>

#include <atomic>
#include <cfenv>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <vector>

#include "error.hpp"
#include "fork.hpp"
#include "python_calls.hpp"
#include "python_program.hpp"

namespace dovetail {

namespace {

struct Object;  // Python's
constexpr int file_input = 257;

// Prints what an embedding needs to know, whether or not it can be done.
constexpr const char* asking = R"python(
import json, os, sys, sysconfig
get = sysconfig.get_config_var
names = [get("INSTSONAME"), get("LDLIBRARY"),
         "libpython{}.{}{}.so".format(*sys.version_info[:2], getattr(sys, "abiflags", ""))]
places = [get("LIBDIR"), os.path.join(get("LIBDIR") or "", get("MULTIARCH") or ""),
          os.path.join(sys.base_prefix, "lib"), get("LIBPL")]
paths = [os.path.join(place, name + end) for name in names if name and ".so" in name
         for place in places if place for end in ("", ".1.0")]
print(json.dumps({"program": sys.executable, "version": sys.version.split()[0],
                  "minor": sys.version_info[1] if sys.version_info[0] == 3 else 0,
                  "library": next(filter(os.path.isfile, paths), "")}))
)python";

struct Found {
  std::string program, version, library;
  int minor;  // of Python 3
};

Found ask_python() {
  const auto answer = run_python({"-c", asking}, 60);
  const auto json = nlohmann::json::parse(answer.last_line(), nullptr, false);
  if (answer.status != 0 || !json.is_object()) {
    throw Error(Status::unavailable,
                "the Python in PATH (or DOVETAIL_PYTHON) does not say where it is; it ended with "
                "status " +
                    std::to_string(answer.status) + ": " + answer.errors.substr(0, 400));
  }
  return {json.value("program", ""), json.value("version", ""), json.value("library", ""),
          json.value("minor", 0)};
}

int find_loaded(dl_phdr_info* info, std::size_t, void* found) {
  if (info->dlpi_name == nullptr || std::strstr(info->dlpi_name, "/libpython3.") == nullptr) {
    return 0;
  }
  *static_cast<std::string*>(found) = info->dlpi_name;
  return 1;
}

// The functions of Python's stable interface; no header of any version, and no layout.
class Python {
 public:
  // The one of this process.
  static const Python& of_process() {
    static std::mutex mutex;
    static std::atomic<const Python*> only{nullptr};
    if (const auto* const there = only.load(std::memory_order_acquire)) return *there;
    // Held while an interpreter starts; where one runs already, nothing here waits for it.
    const std::lock_guard lock(mutex);
    if (only.load() == nullptr) only = make().release();
    return *only.load();
  }

  PythonAnswer call(const std::string& request) const {
    if (started_ && fork_generation() != born_) {
      throw Error(
          Status::unavailable,
          "this process was forked from one that had started Python, which does not survive "
          "that: let the parent call, or fork before the first call");
    }
    if (runs_() == 0) {
      throw Error(Status::unavailable,
                  "the Python of this process has ended: nothing starts it again");
    }
    const Turn turn(*this);
    const auto answer = owned(call_method_(calls(), "call", "s", request.c_str()));
    std::ptrdiff_t size = 0;
    const char* const text = answer ? text_of_(answer.get(), &size) : nullptr;
    if (text == nullptr) {
      clear_();
      return {PythonAnswer::Outcome::failed, "Python made no call: its memory may be at an end"};
    }
    return understood(std::string(text, static_cast<std::size_t>(size)));
  }

 private:
  using Owned = std::unique_ptr<Object, void (*)(Object*)>;

  // The right to use the interpreter, in whatever thread this is.
  class Turn {
   public:
    explicit Turn(const Python& python) : python_(python), state_(python.enter_()) {}
    ~Turn() { python_.leave_(state_); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    const Python& python_;
    int state_;
  };

  static std::unique_ptr<Python> make() {
    std::unique_ptr<Python> python(new Python);
    std::string loaded;
    if (::dlsym(RTLD_DEFAULT, "Py_IsInitialized") == nullptr) {
      dl_iterate_phdr(find_loaded, &loaded);
    }
    void* here = loaded.empty() ? RTLD_DEFAULT : ::dlopen(loaded.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (::dlsym(here, "Py_IsInitialized") != nullptr) {
      python->resolve(here, "this process");
      if (python->runs_() != 0) return python;
    }
    python->start(here);
    return python;
  }

  void start(void* loaded) {
    const auto found = ask_python();
    if (found.minor < 11) {
      throw Error(Status::unavailable, found.program + " is Python " + found.version +
                                           ": it takes 3.11 or newer. Name another Python with "
                                           "DOVETAIL_PYTHON");
    }
    if (::dlsym(loaded, "Py_IsInitialized") == nullptr) {
      if (found.library.empty()) {
        throw Error(Status::unavailable,
                    found.program + " (Python " + found.version +
                        ") has no shared library, so that it cannot run inside this program. "
                        "Install it (Debian: libpython3-dev; pyenv: PYTHON_CONFIGURE_OPTS="
                        "--enable-shared), or name another Python with DOVETAIL_PYTHON");
      }
      // Global, because extension modules look for Python's functions there.
      loaded = ::dlopen(found.library.c_str(), RTLD_NOW | RTLD_GLOBAL);
      if (loaded == nullptr) {
        throw Error(Status::unavailable,
                    "the library of Python cannot be loaded: " + std::string(::dlerror()) +
                        ". Name another Python with DOVETAIL_PYTHON");
      }
      resolve(loaded, found.library);
    }
    begin(loaded, found.program);
    started_ = true;
    born_ = fork_generation();
    // As for `python -c`.
    run("import os, sys\n"
        "if not sys.flags.safe_path: sys.path.insert(0, os.getcwd())\n"
        "if not getattr(sys, 'argv', None): sys.argv = ['']\n");
    pause_();
  }

  // Without signal handlers: those are the solver's.
  void begin(void* library, const std::string& program) const {
    const auto create = function<Object* (*)()>(library, "PyInitConfig_Create");
    const auto set =
        function<int (*)(Object*, const char*, const char*)>(library, "PyInitConfig_SetStr");
    const auto set_number =
        function<int (*)(Object*, const char*, std::int64_t)>(library, "PyInitConfig_SetInt");
    const auto begin_with = function<int (*)(Object*)>(library, "Py_InitializeFromInitConfig");
    const auto forget = function<void (*)(Object*)>(library, "PyInitConfig_Free");
    bool begun = false;
    if (create && set && set_number && begin_with && forget) {
      Object* const config = create();
      begun = config != nullptr && set(config, "executable", program.c_str()) == 0 &&
              set_number(config, "isolated", 0) == 0 &&
              set_number(config, "use_environment", 1) == 0 &&
              set_number(config, "user_site_directory", 1) == 0 &&
              set_number(config, "safe_path", 0) == 0 &&
              set_number(config, "install_signal_handlers", 0) == 0 && begin_with(config) == 0;
      if (config != nullptr) forget(config);
    } else {
      const auto name = function<void (*)(const wchar_t*)>(library, "Py_SetProgramName");
      const auto decode =
          function<wchar_t* (*)(const char*, std::size_t*)>(library, "Py_DecodeLocale");
      const auto initialize = function<void (*)(int)>(library, "Py_InitializeEx");
      if (name && decode && initialize) {
        name(decode(program.c_str(), nullptr));  // kept for as long as Python is
        initialize(0);
        begun = runs_() != 0;
      }
    }
    if (!begun) {
      throw Error(Status::unavailable, "the interpreter of " + program +
                                           " did not start. Is the variable PYTHONHOME set for "
                                           "another one?");
    }
  }

  template <class Function>
  static Function function(void* library, const char* name) {
    return reinterpret_cast<Function>(::dlsym(library, name));
  }

  template <class Function>
  static void take(Function& pointer, void* library, const char* name, const std::string& where) {
    pointer = function<Function>(library, name);
    if (pointer == nullptr) {
      throw Error(Status::unavailable,
                  where + " has no " + name + ": it takes Python 3.11 or newer");
    }
  }

  void resolve(void* library, const std::string& where) {
    take(runs_, library, "Py_IsInitialized", where);
    take(enter_, library, "PyGILState_Ensure", where);
    take(leave_, library, "PyGILState_Release", where);
    take(pause_, library, "PyEval_SaveThread", where);
    take(compile_, library, "Py_CompileString", where);
    take(evaluate_, library, "PyEval_EvalCode", where);
    take(new_module_, library, "PyModule_New", where);
    take(names_of_, library, "PyModule_GetDict", where);
    take(builtins_, library, "PyEval_GetBuiltins", where);
    take(set_item_, library, "PyDict_SetItemString", where);
    take(call_method_, library, "PyObject_CallMethod", where);
    take(text_of_, library, "PyUnicode_AsUTF8AndSize", where);
    take(clear_, library, "PyErr_Clear", where);
    take(release_, library, "Py_DecRef", where);
  }

  Owned owned(Object* object) const { return {object, release_}; }

  // A module of its own in which a text has run; NULL if that failed.
  Object* run(const char* text) const {
    Object* const module = new_module_("dovetail_calls");
    if (module == nullptr) return nullptr;
    Object* const names = names_of_(module);  // the module's
    set_item_(names, "__builtins__", builtins_());
    const auto code = owned(compile_(text, "<dovetail>", file_input));
    const auto done = owned(code ? evaluate_(code.get(), names, names) : nullptr);
    if (done) return module;
    clear_();
    release_(module);
    return nullptr;
  }

  // The functions of python_calls. The turn is ours, and may pass to others meanwhile.
  Object* calls() const {
    if (Object* const there = calls_.load(std::memory_order_acquire)) return there;
    Object* made = run(python_calls);
    if (made == nullptr) {
      throw Error(
          Status::unavailable,
          "Python did not take the functions that calls are made with: is it 3.11 or newer, "
          "with its standard library?");
    }
    Object* nobody = nullptr;
    if (calls_.compare_exchange_strong(nobody, made)) return made;
    release_(made);
    return nobody;
  }

  static PythonAnswer understood(const std::string& said) {
    using Outcome = PythonAnswer::Outcome;
    const auto line = said.find('\n');
    const auto word = said.substr(0, line);
    const auto outcome = word == "ok"            ? Outcome::ok
                         : word == "unavailable" ? Outcome::unavailable
                                                 : Outcome::failed;
    return {outcome, said.substr(line + 1)};
  }

  bool started_ = false;    // here, and not by somebody else
  std::uint64_t born_ = 0;  // after so many forks
  int (*runs_)() = nullptr;
  int (*enter_)() = nullptr;
  void (*leave_)(int) = nullptr;
  Object* (*pause_)() = nullptr;
  Object* (*compile_)(const char*, const char*, int) = nullptr;
  Object* (*evaluate_)(Object*, Object*, Object*) = nullptr;
  Object* (*new_module_)(const char*) = nullptr;
  Object* (*names_of_)(Object*) = nullptr;
  Object* (*builtins_)() = nullptr;
  int (*set_item_)(Object*, const char*, Object*) = nullptr;
  Object* (*call_method_)(Object*, const char*, const char*, ...) = nullptr;
  const char* (*text_of_)(Object*, std::ptrdiff_t*) = nullptr;
  void (*clear_)() = nullptr;
  void (*release_)(Object*) = nullptr;
  mutable std::atomic<Object*> calls_{nullptr};
};

// Python computes what a solver may have asked to be stopped for, as NaN; its traps and its flags
// are as before when it goes on.
class Arithmetic {
 public:
  Arithmetic() { std::feholdexcept(&before_); }
  ~Arithmetic() { std::fesetenv(&before_); }
  Arithmetic(const Arithmetic&) = delete;
  Arithmetic& operator=(const Arithmetic&) = delete;

 private:
  std::fenv_t before_;
};

}  // namespace

PythonAnswer ask_interpreter(const std::string& request) {
  const Arithmetic arithmetic;
  return Python::of_process().call(request);
}

}  // namespace dovetail
