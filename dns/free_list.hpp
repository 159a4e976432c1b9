#pragma once

// Memory for what comes and goes by the thousand: a question on its way is a coroutine's frame, a few objects, and half
// a dozen blocks of c-ares'. malloc keeps seven free blocks of a size at hand, these lists a few hundred; the rest of
// the way through malloc costs ten times as much. Like everything here for one thread.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace vmrouter::dns {

class FreeLists {
public:
    static constexpr std::size_t largest = 1024;  ///< bytes; larger blocks are malloc's alone
#ifdef __SANITIZE_ADDRESS__
    static constexpr std::size_t most_spare = 0;  ///< a use after the end must be seen
#else
    static constexpr std::size_t most_spare = 256;  ///< of one size
#endif

    /// Of this thread; never destroyed, so that whatever ends last can still give its memory back.
    static FreeLists& instance() {
        static thread_local auto* lists = new FreeLists;
        return *lists;
    }

    /// Null when there is no memory. Aligned as malloc's.
    void* take(std::size_t size) {
        const std::size_t bin = bin_of(size);
        if (bin >= bins_.size()) return std::malloc(size);
        Bin& spare = bins_[bin];
        if (spare.first == nullptr) return std::malloc((bin + 1) * step);
        Block* block = spare.first;
        spare.first = block->next;
        --spare.count;
        return block;
    }
    /// `size` is the one that was asked for.
    void give(void* memory, std::size_t size) {
        const std::size_t bin = bin_of(size);
        if (bin >= bins_.size() || bins_[bin].count + 1 > most_spare) return std::free(memory);
        bins_[bin].first = new (memory) Block{bins_[bin].first};
        ++bins_[bin].count;
    }

private:
    static constexpr std::size_t step = 32;
    struct Block {
        Block* next;
    };
    struct Bin {
        Block* first = nullptr;
        std::size_t count = 0;
    };
    static std::size_t bin_of(std::size_t size) {
        return size == 0 ? 0 : (size - 1) / step;
    }

    std::array<Bin, largest / step> bins_;
};

/// Base of classes whose objects live in the free lists.
struct Pooled {
    static void* operator new(std::size_t size) {
        if (void* memory = FreeLists::instance().take(size)) return memory;
        throw std::bad_alloc();
    }
    static void operator delete(void* memory, std::size_t size) { FreeLists::instance().give(memory, size); }
};

}  // namespace vmrouter::dns
