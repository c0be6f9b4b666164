// TorchScript behind the plain C interface of a compiled package, so that the core calls a
// TorchScript file as it calls what AOTInductor compiled. Built by dovetail.model.scripting with
// the user's compiler against the user's torch; the file lies beside it, as model.pt.
#include <torch/csrc/inductor/aoti_torch/utils.h>
#include <torch/script.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace {

using Code = std::int32_t;

thread_local std::string reason;

// The last line is what happened; before it comes where.
std::string last_line(std::string text) {
  text.erase(text.find_last_not_of("\n\r ") + 1);
  return text.substr(text.find_last_of('\n') + 1);
}

template <class Body>
Code guarded(Body body) {
  try {
    body();
    return 0;
  } catch (const c10::Error& error) {
    reason = last_line(error.what_without_backtrace());
  } catch (const std::exception& error) {
    reason = last_line(error.what());
  } catch (...) {
    reason = "torch threw what is no exception";
  }
  return 1;
}

struct Script {
  torch::jit::Module module;
  std::size_t inputs = 0, outputs = 0;
};

Script* in(void* container) { return static_cast<Script*>(container); }

bool is_tensor(const c10::TypePtr& type) { return type->kind() == c10::TypeKind::TensorType; }

std::vector<at::Tensor> tensors_in(const torch::jit::IValue& answer) {
  if (answer.isTensor()) return {answer.toTensor()};
  if (answer.isTensorList()) return answer.toTensorVector();
  std::vector<at::Tensor> tensors;
  for (const auto& one : answer.toTupleRef().elements()) tensors.push_back(one.toTensor());
  return tensors;
}

}  // namespace

extern "C" {

Code AOTInductorGetLastError(const char** text) {
  *text = reason.c_str();
  return 0;
}

Code AOTInductorModelContainerCreateWithDevice(void** made, std::size_t, const char* device,
                                               const char* folder) {
  return guarded([&] {
    auto script = std::make_unique<Script>();
    auto loaded = torch::jit::load(std::string(folder) + "/model.pt", c10::Device(device));
    loaded.eval();
    script->module = torch::jit::freeze(loaded);
    const auto& schema = loaded.get_method("forward").function().getSchema();
    // The first argument is the module.
    for (std::size_t place = 1; place < schema.arguments().size(); ++place) {
      if (is_tensor(schema.arguments()[place].type())) ++script->inputs;
    }
    const auto& type = schema.returns().at(0).type();
    script->outputs = is_tensor(type) ? 1 : type->containedTypes().size();
    *made = script.release();
  });
}

Code AOTInductorModelContainerDelete(void* container) {
  return guarded([&] { delete in(container); });
}

// The handles of the inputs are taken over, whatever comes of the call.
Code AOTInductorModelContainerRunSingleThreaded(void* container, AtenTensorHandle* inputs,
                                                std::size_t count, AtenTensorHandle* outputs,
                                                std::size_t output_count, void*, void*) {
  using torch::aot_inductor::new_tensor_handle;
  using torch::aot_inductor::tensor_handle_to_tensor_pointer;
  return guarded([&] {
    std::vector<torch::jit::IValue> given;
    for (std::size_t place = 0; place < count; ++place) {
      const std::unique_ptr<at::Tensor> owned(tensor_handle_to_tensor_pointer(inputs[place]));
      given.emplace_back(std::move(*owned));
    }
    const torch::NoGradGuard no_gradients;
    auto tensors = tensors_in(in(container)->module.forward(std::move(given)));
    if (tensors.size() != output_count) {
      throw std::runtime_error("the module gave " + std::to_string(tensors.size()) +
                               " tensors, and says " + std::to_string(output_count));
    }
    for (std::size_t place = 0; place < output_count; ++place) {
      outputs[place] = new_tensor_handle(std::move(tensors[place]));
    }
  });
}

Code AOTInductorModelContainerGetNumInputs(void* container, std::size_t* count) {
  *count = in(container)->inputs;
  return 0;
}
Code AOTInductorModelContainerGetNumOutputs(void* container, std::size_t* count) {
  *count = in(container)->outputs;
  return 0;
}

// Its weights are part of the frozen code.
Code AOTInductorModelContainerGetNumConstants(void*, std::size_t* count) {
  *count = 0;
  return 0;
}
Code AOTInductorModelContainerGetConstantName(void*, std::size_t, const char**) { return 1; }
Code AOTInductorModelContainerGetConstantOriginalFQN(void*, std::size_t, const char**) { return 1; }

}  // extern "C"
