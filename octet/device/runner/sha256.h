#pragma once
#include <string>

// The SHA-256 of a file in hexadecimal digits; empty where it cannot be read. FIPS 180-4, section 6.2.
std::string sha256(const std::string& path);
