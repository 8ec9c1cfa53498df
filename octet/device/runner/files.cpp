#include "files.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

static std::vector<std::string> partials;  // what fail() removes

void fail(const std::string& message) {
    for (const std::string& path : partials) std::remove(path.c_str());
    std::fprintf(stderr, "runner: %s\n", message.c_str());
    std::exit(1);
}

static std::string why() { return std::strerror(errno); }

Images::Images(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "rb")) {
    if (!file_) fail(path + ": " + why());
    unsigned char head[24];
    if (std::fread(head, 1, sizeof head, file_) != sizeof head || std::memcmp(head, "octetf32", 8) != 0)
        fail(path + ": no file of network inputs; expected one that begins with 'octetf32' and four sizes");
    uint32_t sizes[4];
    for (int k = 0; k < 4; k++) {
        const unsigned char* p = head + 8 + 4 * k;
        sizes[k] = p[0] | p[1] << 8 | p[2] << 16 | uint32_t(p[3]) << 24;
    }
    count = sizes[0], channels = sizes[1], height = sizes[2], width = sizes[3];
    const uint64_t most = 1u << 28;  // floats of one image: 1 GiB
    uint64_t floats = channels;
    if (channels > most || height > most || width > most) floats = 0;
    if (floats) floats *= height;
    if (floats && floats <= most) floats *= width;
    if (!count || !floats || floats > most) fail(path + ": expected images of at most 2^28 values, and at least one");
    std::fseek(file_, 0, SEEK_END);
    const int64_t wanted = int64_t(sizeof head) + int64_t(count) * int64_t(floats) * 4, size = std::ftell(file_);
    if (size != wanted)
        fail(path + ": " + std::to_string(size) + " bytes, expected " + std::to_string(wanted) + " for its " +
             std::to_string(count) + " images; it did not arrive whole");
    std::fseek(file_, sizeof head, SEEK_SET);
}

Images::~Images() { std::fclose(file_); }

void Images::read(std::vector<float>& image) {
    image.resize(size_t(channels) * height * width);
    if (std::fread(image.data(), sizeof(float), image.size(), file_) != image.size()) fail(path_ + ": " + why());
}

Output::Output(const std::string& path)
    : path_(path), partial_(path + ".partial"), file_(std::fopen(partial_.c_str(), "wb")) {
    if (!file_) fail(path + ": " + why());
    partials.push_back(partial_);
}

void Output::write(const void* data, size_t size) {
    if (std::fwrite(data, 1, size, file_) != size) fail(path_ + ": " + why());
}

void Output::close() {
    if (std::fclose(file_) != 0) fail(path_ + ": " + why());
    if (std::rename(partial_.c_str(), path_.c_str()) != 0) fail(path_ + ": " + why());
}
