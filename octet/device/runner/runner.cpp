// Runs ncnn models on this device: what they answer, and how long each answer takes.
//
//   runner --info                     what this device is, as JSON
//   runner --sha256 FILE...           a line for each: its SHA-256, or '-' where it is not there
//   runner run --images FILE --report FILE [--threads 1] [--cores all|big|little] [--warm-up 3] [--runs 1] [--pause-ms 0]
//       --model NAME OPTIONS PARAM BIN INPUT OUTPUT LOGITS ...
//
// `run` takes the images one after the other, and gives each to all models in turn, so that what slows the device down slows
// all of them down. OPTIONS: fp32 (an int8 model, too: what is int8 is in its files), fp16 (ncnn's default; fp32 where the
// processor has no fp16) or bf16. LOGITS becomes float32 in little-endian order, all outputs of an image after each other; the
// report is JSON with every latency in milliseconds.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>

#include "cpu.h"
#include "files.h"
#include "net.h"
#include "platform.h"
#include "sha256.h"

typedef std::chrono::steady_clock Clock;

static const int kMostThreads = 4096;  // as many as a device may have cores: MOST_CORES in octet/device/answers.py

// bf16_packed came in 2026: releases before it have nothing to set.
template <typename Options>
static auto set_bf16_packed(Options& options, bool on, int) -> decltype(void(options.use_bf16_packed)) {
    options.use_bf16_packed = on;
}

template <typename Options>
static void set_bf16_packed(Options&, bool, long) {}

static double ms_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

static std::string quoted(const std::string& text) {
    std::string json = "\"";
    for (unsigned char c : text) {
        if (c == '"' || c == '\\') json += '\\';
        if (c >= 32) json += char(c);
    }
    return json + "\"";
}

// The first line of /proc/cpuinfo with one of these keys, without the key.
static std::string cpuinfo(std::initializer_list<const char*> keys) {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);)
        for (const char* key : keys)
            if (line.compare(0, std::strlen(key), key) == 0 && line.find(": ") != std::string::npos)
                return line.substr(line.find(": ") + 2);
    return "";
}

static std::string info() {
    std::string features;
    const struct {
        const char* name;
        int has;
    } known[] = {
#if __aarch64__
        {"asimdhp", ncnn::cpu_support_arm_asimdhp()}, {"asimddp", ncnn::cpu_support_arm_asimddp()},
        {"asimdfhm", ncnn::cpu_support_arm_asimdfhm()}, {"bf16", ncnn::cpu_support_arm_bf16()},
        {"i8mm", ncnn::cpu_support_arm_i8mm()}, {"sve", ncnn::cpu_support_arm_sve()},
        {"sve2", ncnn::cpu_support_arm_sve2()},
#else
        {"avx", ncnn::cpu_support_x86_avx()}, {"avx2", ncnn::cpu_support_x86_avx2()},
        {"avx_vnni", ncnn::cpu_support_x86_avx_vnni()}, {"avx512", ncnn::cpu_support_x86_avx512()},
        {"avx512_vnni", ncnn::cpu_support_x86_avx512_vnni()}, {"avx512_bf16", ncnn::cpu_support_x86_avx512_bf16()},
#endif
    };
    for (const auto& feature : known)
        if (feature.has) features += (features.empty() ? "" : ", ") + quoted(feature.name);
#if __aarch64__
    const char* architecture = "aarch64";
#else
    const char* architecture = "x86_64";
#endif
    return std::string("{\"architecture\": ") + quoted(architecture) +
           ", \"cpu\": " + quoted(cpuinfo({"Hardware", "Model", "model name", "CPU part"})) +
           ", \"cores\": " + std::to_string(ncnn::get_cpu_count()) +
           ", \"big_cores\": " + std::to_string(ncnn::get_big_cpu_count()) + ", \"features\": [" + features +
           "], \"memory_kib\": " + std::to_string(uint64_t(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE) / 1024) +
           ", \"ncnn\": " + quoted(NCNN_VERSION_STRING) + "}";
}

// The most memory that this program had, in KiB. What getrusage says begins with that of the program that started this one.
static long peak_kib() {
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);)
        if (line.compare(0, 6, "VmHWM:") == 0) return std::atol(line.c_str() + 6);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

struct Model {
    std::string name, options, param, bin, input, output;
    std::unique_ptr<Output> logits;
    ncnn::Net net;
    double load_ms;
    size_t values = 0;  // of its output
    std::vector<double> latency_ms;

    void load(int threads) {
        net.opt.num_threads = threads;
        net.opt.use_vulkan_compute = false;
        const bool fp16 = options == "fp16", bf16 = options == "bf16";
        if (!fp16 && !bf16 && options != "fp32") fail("--model " + name + ": options '" + options + "', expected fp32, fp16 or bf16");
        if (bf16 && !NCNN_BF16) fail("--model " + name + ": this runner is built without bf16");
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = fp16;
        set_bf16_packed(net.opt, bf16, 0);
        net.opt.use_bf16_storage = bf16;
        const Clock::time_point start = Clock::now();
        if (net.load_param(param.c_str()) != 0) fail(param + ": ncnn cannot read it; does this runner lack one of its layers?");
        if (net.load_model(bin.c_str()) != 0) fail(bin + ": ncnn cannot read it as the weights of " + param);
        load_ms = ms_since(start);
    }

    ncnn::Mat run(const ncnn::Mat& image) {
        ncnn::Mat result;
        const Clock::time_point start = Clock::now();
        ncnn::Extractor extractor = net.create_extractor();
        if (extractor.input(input.c_str(), image) != 0) fail(name + ": no input named '" + input + "'");
        if (extractor.extract(output.c_str(), result) != 0) fail(name + ": ncnn failed to compute '" + output + "'");
        latency_ms.push_back(ms_since(start));
        return result;
    }

    void write(const ncnn::Mat& result) {
        const ncnn::Mat flat = result.reshape(result.w * result.h * result.d * result.c);
        if (flat.empty() || flat.elemsize != sizeof(float)) fail(name + ": its output is no fp32, or memory ran out");
        if (values && values != size_t(flat.w)) fail(name + ": its output has another size for another image");
        values = flat.w;
        logits->write(flat.data, values * sizeof(float));
    }

    std::string json() const {
        std::string text = quoted(name) + ": {\"options\": " + quoted(options) + ", \"values\": " + std::to_string(values) +
                           ", \"load_ms\": " + std::to_string(load_ms) + ", \"latency_ms\": [";
        for (size_t k = 0; k < latency_ms.size(); k++) text += (k ? ", " : "") + std::to_string(latency_ms[k]);
        return text + "]}";
    }
};

// The next network input. ncnn begins each channel at a multiple of 16 bytes, so where width * height is no multiple of 4 there
// are gaps between them, which the file has not.
static ncnn::Mat next_image(Images& images, std::vector<float>& values) {
    images.read(values);
    ncnn::Mat image(int(images.width), int(images.height), int(images.channels));
    if (image.empty()) fail("memory ran out");
    const size_t floats = size_t(images.width) * images.height;  // of a channel
    for (int c = 0; c < image.c; c++) {
        float* channel = image.channel(c);
        std::memcpy(channel, values.data() + c * floats, floats * sizeof(float));
    }
    return image;
}

static int number(const std::string& option, const char* text, int least, int most) {
    char* end;
    const long value = std::strtol(text, &end, 10);
    if (!*text || *end || value < least || value > most)
        fail(option + " " + text + ": expected a number from " + std::to_string(least) + " to " + std::to_string(most));
    return int(value);
}

static int run(int argc, char** argv) {
    std::string images_path, report_path;
    int threads = 1, warm_up = 3, runs = 1, pause_ms = 0, powersave = 0;
    std::vector<std::unique_ptr<Model>> models;
    for (int k = 0; k < argc;) {
        const std::string option = argv[k++];
        const int wanted = option == "--model" ? 7 : 1;
        if (k + wanted > argc) fail(option + ": expected " + std::to_string(wanted) + " more words");
        char** words = argv + k;
        k += wanted;
        if (option == "--images") images_path = words[0];
        else if (option == "--report") report_path = words[0];
        else if (option == "--threads") threads = number(option, words[0], 1, kMostThreads);
        else if (option == "--warm-up") warm_up = number(option, words[0], 0, 100000);
        else if (option == "--runs") runs = number(option, words[0], 1, 100000);
        else if (option == "--pause-ms") pause_ms = number(option, words[0], 0, 600000);
        else if (option == "--cores") {
            const std::string cores = words[0];
            if (cores != "all" && cores != "little" && cores != "big") fail("--cores " + cores + ": expected all, big or little");
            powersave = cores == "little" ? 1 : cores == "big" ? 2 : 0;
        } else if (option == "--model") {
            std::unique_ptr<Model> model(new Model);
            model->name = words[0], model->options = words[1], model->param = words[2], model->bin = words[3];
            model->input = words[4], model->output = words[5], model->logits.reset(new Output(words[6]));
            models.push_back(std::move(model));
        } else fail(option + ": no such option");
    }
    if (images_path.empty() || report_path.empty() || models.empty()) fail("run: expected --images, --report and --model");
    if (ncnn::set_cpu_powersave(powersave) != 0 && powersave) fail("--cores: this system does not let a program choose its cores");
    ncnn::set_omp_num_threads(threads);
    Images images(images_path);
    for (auto& model : models) model->load(threads);
    std::vector<float> values;
    for (uint32_t k = 0; k < images.count; k++) {
        const ncnn::Mat image = next_image(images, values);
        for (int once = 0; once < (k ? 0 : warm_up); once++)
            for (auto& model : models) model->run(image), model->latency_ms.pop_back();
        for (int once = 0; once < runs; once++)
            for (auto& model : models) {
                const ncnn::Mat result = model->run(image);
                if (!once) model->write(result);
                if (pause_ms) usleep(useconds_t(pause_ms) * 1000);
            }
        std::printf("done %u of %u\n", k + 1, images.count);
        std::fflush(stdout);
    }
    for (auto& model : models) model->logits->close();
    std::string json = "{\"info\": " + info() + ", \"threads\": " + std::to_string(threads) +
                       ", \"peak_kib\": " + std::to_string(peak_kib()) + ", \"models\": {";
    for (size_t k = 0; k < models.size(); k++) json += (k ? ", " : "") + models[k]->json();
    json += "}}\n";
    Output report(report_path);
    report.write(json.data(), json.size());
    report.close();
    return 0;
}

int main(int argc, char** argv) {
    const std::string verb = argc > 1 ? argv[1] : "";
    if (verb == "--info") return std::printf("%s\n", info().c_str()) < 0;
    if (verb == "run") return run(argc - 2, argv + 2);
    if (verb != "--sha256") fail("expected --info, --sha256 FILE... or run; see the head of runner.cpp");
    for (int k = 2; k < argc; k++) {
        const std::string digits = sha256(argv[k]);
        std::printf("%s\n", digits.empty() ? "-" : digits.c_str());
    }
    return 0;
}
