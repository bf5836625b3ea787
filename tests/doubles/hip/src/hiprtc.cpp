// hiprtc: by the C++ compiler of this machine, or in instruction mode by clang for the GPU that is asked for.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>
#include <vector>

#include "command.h"
#include "standin.h"

namespace standin {

enum Result { kSuccess = 0, kOutOfMemory = 1, kInvalidInput = 3, kInvalidOption = 5, kCompilation = 6, kInternal = 11 };

struct Program {
  std::string source, log, code;
  std::vector<std::pair<std::string, std::string>> headers;
};

namespace files = std::filesystem;

// The names of a program's kernels.
static Strings kernels_of(const std::string& source) {
  static const std::regex pattern(R"((?:HAL_KERNEL|__global__)\s[^;{()]*?\bvoid\s+(\w+)\s*\()");
  Strings names;
  for (std::sregex_iterator at(source.begin(), source.end(), pattern), end; at != end; ++at) names.push_back((*at)[1]);
  return names;
}

static Strings native(const Program& program, const Strings& options, const files::path& folder) {
  std::ofstream file(folder / "program.cpp");
  file << "#include \"device_prelude.h\"\n" << program.source << "\nnamespace hal::device {}\nusing namespace hal::device;\n";
  for (auto& name : kernels_of(program.source)) file << "HIP_STANDIN_EXPORT(" << name << ")\n";
  Strings command{setting("CXX", "g++"), "-std=c++17", setting("LEVEL", "-O0"), "-fPIC", "-shared", "-w",
                  "-Wl,-Bsymbolic",  // a kernel may be called as a function of libc is
                  "-I" + setting("SOURCES", "."), "-I" + folder.string()};
  for (auto& option : options) {
    if (option.rfind("-D", 0) == 0) command.push_back(option);
  }
  command.insert(command.end(), {(folder / "program.cpp").string(), "-o", (folder / "code").string()});
  return command;
}

static Strings for_gpu(const Program& program, const Strings& options, const files::path& folder) {
  std::ofstream(folder / "program.hip") << program.source;
  Strings command = llvm("clang++");
  command.insert(command.end(), {"-x", "hip", "--offload-device-only", "--no-gpu-bundle-output", "-nogpulib",
                                 "-nogpuinc", setting("LEVEL", "-O3"), "-I" + folder.string()});
  command.insert(command.end(), options.begin(), options.end());
  command.insert(command.end(), {(folder / "program.hip").string(), "-o", (folder / "code").string()});
  return command;
}

static Result compile(Program& program, const Strings& options) {
  files::path folder = temporary_folder();
  if (folder.empty()) return kInternal;
  for (auto& [header, text] : program.headers) {
    files::create_directories((folder / header).parent_path());
    std::ofstream(folder / header) << text;
  }
  Strings command = (instructions() ? for_gpu : native)(program, options, folder);
  int status = run(command, folder / "log");
  program.log = read(folder / "log");
  program.code = status == 0 ? read(folder / "code") : "";
  files::remove_all(folder);
  if (status == -1) program.log = "cannot run " + command[0];
  return program.code.empty() ? kCompilation : kSuccess;
}

}  // namespace standin

using standin::Program;

API const char* hiprtcGetErrorString(int result) {
  switch (result) {
    case standin::kSuccess: return "HIPRTC_SUCCESS";
    case standin::kInvalidInput: return "HIPRTC_ERROR_INVALID_INPUT";
    case standin::kInvalidOption: return "HIPRTC_ERROR_INVALID_OPTION";
    case standin::kCompilation: return "HIPRTC_ERROR_COMPILATION";
    default: return "HIPRTC_ERROR_INTERNAL_ERROR";
  }
}
API int hiprtcVersion(int* major, int* minor) {
  *major = 9;
  *minor = 0;
  return standin::kSuccess;
}
API int hiprtcCreateProgram(Program** result, const char* source, const char*, int count, const char** texts,
                            const char** names) {
  if (result == nullptr || source == nullptr || count < 0) return standin::kInvalidInput;
  *result = new Program{source, "", "", {}};
  for (int i = 0; i < count; i++) (*result)->headers.emplace_back(names[i], texts[i]);
  return standin::kSuccess;
}
API int hiprtcDestroyProgram(Program** program) {
  delete *program;
  *program = nullptr;
  return standin::kSuccess;
}
API int hiprtcCompileProgram(Program* program, int count, const char** options) {
  return standin::compile(*program, standin::Strings(options, options + count));
}
API int hiprtcGetProgramLogSize(Program* program, size_t* size) {
  *size = program->log.size() + 1;
  return standin::kSuccess;
}
API int hiprtcGetProgramLog(Program* program, char* log) {
  std::memcpy(log, program->log.c_str(), program->log.size() + 1);
  return standin::kSuccess;
}
API int hiprtcGetCodeSize(Program* program, size_t* size) {
  *size = program->code.size();
  return standin::kSuccess;
}
API int hiprtcGetCode(Program* program, char* code) {
  std::memcpy(code, program->code.data(), program->code.size());
  return standin::kSuccess;
}

// What pyhip looks up when it is imported, and HAL does not call.
API int hiprtcAddNameExpression(Program*, const char*) { return standin::kInvalidInput; }
API int hiprtcGetLoweredName(Program*, const char*, const char**) { return standin::kInvalidInput; }
