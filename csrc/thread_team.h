// A fixed team of threads that runs one function at a time, and the barrier its members share.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace zen {

// Reusable barrier for threads that are known to arrive within microseconds of each other: it
// spins, and gives the processor away only when a partner is late (more threads than free cores).
class SpinBarrier {
 public:
  explicit SpinBarrier(int num_threads) : num_threads_(num_threads) {}
  void wait();

 private:
  const int num_threads_;
  std::atomic<int> num_arrived_{0};
  std::atomic<uint32_t> phase_{0};
};

// The caller is member 0; members 1.. are threads that sleep between runs and start at first use.
class ThreadTeam {
 public:
  explicit ThreadTeam(int num_threads) : num_threads_(num_threads) {}
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int num_threads() const { return num_threads_; }

  // Calls body(member) on `num_members` <= num_threads members at once, and returns when all have.
  // `body` must not throw. One run at a time: the caller serialises.
  void run(int num_members, const std::function<void(int)>& body);

 private:
  // What the threads share.
  struct Workers {
    std::mutex mutex;
    std::condition_variable wake, done;
    const std::function<void(int)>* body = nullptr;
    uint64_t run_count = 0;
    int num_members = 0, num_busy = 0;
    bool stop = false;
    std::vector<std::thread> threads;

    ~Workers();
    void work(int member);
  };

  void start();

  const int num_threads_;
  std::unique_ptr<Workers> workers_;
};

}  // namespace zen
