#pragma once

// Cursors over packet bytes, network byte order on the wire, host byte order in values. Both fail for good: after the
// first read past the end (or write past the end) every further call is a no-op, so that a codec reads or writes its
// fields in wire order and asks ok() once.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace vmrouter {

using Bytes = std::span<const std::uint8_t>;

/// Reads from bytes that somebody else owns. A failed read returns zero (or an empty span).
class Reader {
public:
    explicit Reader(Bytes bytes) : bytes_(bytes) {}

    std::uint8_t u8() {
        if (!take(1)) return 0;
        return bytes_[position_ - 1];
    }
    std::uint16_t u16() {
        if (!take(2)) return 0;
        return static_cast<std::uint16_t>((bytes_[position_ - 2] << 8) | bytes_[position_ - 1]);
    }
    std::uint32_t u32() {
        const std::uint32_t high = u16();
        const std::uint32_t low = u16();
        return ok_ ? (high << 16) | low : 0;
    }
    /// The next `size` bytes; they live as long as the buffer that this reader was made from.
    Bytes bytes(std::size_t size) {
        if (!take(size)) return {};
        return bytes_.subspan(position_ - size, size);
    }
    void skip(std::size_t size) { take(size); }
    /// Moves to an absolute position; past the end fails.
    void seek(std::size_t position) {
        if (position > bytes_.size())
            ok_ = false;
        else if (ok_)
            position_ = position;
    }

    [[nodiscard]] std::size_t position() const { return position_; }
    [[nodiscard]] std::size_t remaining() const { return ok_ ? bytes_.size() - position_ : 0; }
    [[nodiscard]] Bytes rest() const { return ok_ ? bytes_.subspan(position_) : Bytes{}; }
    [[nodiscard]] bool ok() const { return ok_; }

private:
    bool take(std::size_t size) {
        if (!ok_ || size > bytes_.size() - position_) {
            ok_ = false;
            return false;
        }
        position_ += size;
        return true;
    }

    Bytes bytes_;
    std::size_t position_ = 0;
    bool ok_ = true;
};

/// Writes into a buffer of fixed size that somebody else owns.
class Writer {
public:
    explicit Writer(std::span<std::uint8_t> buffer) : buffer_(buffer) {}

    void u8(std::uint8_t value) {
        if (take(1)) buffer_[position_ - 1] = value;
    }
    void u16(std::uint16_t value) {
        if (!take(2)) return;
        buffer_[position_ - 2] = static_cast<std::uint8_t>(value >> 8);
        buffer_[position_ - 1] = static_cast<std::uint8_t>(value);
    }
    void u32(std::uint32_t value) {
        if (!take(4)) return;
        for (std::size_t i = 0; i < 4; ++i)
            buffer_[position_ - 4 + i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
    }
    void bytes(Bytes value) {
        if (!value.empty() && take(value.size()))
            std::memcpy(buffer_.data() + position_ - value.size(), value.data(), value.size());
    }
    void zeros(std::size_t size) {
        if (size > 0 && take(size)) std::memset(buffer_.data() + position_ - size, 0, size);
    }
    void text(std::string_view value) {
        if (!value.empty() && take(value.size()))
            std::memcpy(buffer_.data() + position_ - value.size(), value.data(), value.size());
    }
    /// Overwrites two bytes that were written before (lengths, counts, checksums).
    void patch_u16(std::size_t position, std::uint16_t value) {
        if (position + 2 > position_) {
            ok_ = false;
            return;
        }
        buffer_[position] = static_cast<std::uint8_t>(value >> 8);
        buffer_[position + 1] = static_cast<std::uint8_t>(value);
    }
    /// Forgets everything written after `position`; also forgives a failure that came after it.
    void rewind(std::size_t position) {
        if (position <= position_) {
            position_ = position;
            ok_ = true;
        }
    }

    [[nodiscard]] std::size_t position() const { return position_; }
    [[nodiscard]] std::size_t room() const { return ok_ ? buffer_.size() - position_ : 0; }
    [[nodiscard]] std::span<std::uint8_t> written() const { return buffer_.first(position_); }
    [[nodiscard]] bool ok() const { return ok_; }

private:
    bool take(std::size_t size) {
        if (!ok_ || size > buffer_.size() - position_) {
            ok_ = false;
            return false;
        }
        position_ += size;
        return true;
    }

    std::span<std::uint8_t> buffer_;
    std::size_t position_ = 0;
    bool ok_ = true;
};

}  // namespace vmrouter
