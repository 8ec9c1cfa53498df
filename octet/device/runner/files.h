// Files: the network inputs that come in, the logits and the report that go out. Every function ends the program with one line
// on stderr where a file is not what it should be, or cannot be written.
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

// Ends the program: "runner: MESSAGE" on stderr, and exit status 1. What was begun to be written is removed.
[[noreturn]] void fail(const std::string& message);

// Network inputs, read one at a time: "octetf32", then n, channels, height and width as uint32, then n*c*h*w floats, all in
// little-endian order.
class Images {
public:
    explicit Images(const std::string& path);
    ~Images();
    uint32_t count, channels, height, width;
    void read(std::vector<float>& image);  // the next one

private:
    std::string path_;
    FILE* file_;
};

// A file that is whole or not there: it gets its name when it is closed.
class Output {
public:
    explicit Output(const std::string& path);
    void write(const void* data, size_t size);
    void close();

private:
    std::string path_, partial_;
    FILE* file_;
};
