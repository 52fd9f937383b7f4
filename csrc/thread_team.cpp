#include "thread_team.h"

#include <utility>

namespace zen {
namespace {

void pause_spinning() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

}  // namespace

void SpinBarrier::wait() {
  constexpr int kSpinsBeforeYield = 4000;
  const uint32_t phase = phase_.load(std::memory_order_relaxed);
  if (num_arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == num_threads_) {
    num_arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; phase_.load(std::memory_order_acquire) == phase; ++spins) {
    if (spins < kSpinsBeforeYield) {
      pause_spinning();
    } else {
      std::this_thread::yield();
    }
  }
}

ThreadTeam::Workers::~Workers() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stop = true;
  }
  wake.notify_all();
  for (std::thread& thread : threads) thread.join();
}

void ThreadTeam::start() {
  if (workers_ != nullptr) return;
  // Kept only when complete: where the system refuses a thread, those before it are joined.
  auto workers = std::make_unique<Workers>();
  for (int member = 1; member < num_threads_; ++member) {
    workers->threads.emplace_back(&Workers::work, workers.get(), member);
  }
  workers_ = std::move(workers);
}

void ThreadTeam::run(int num_members, const std::function<void(int)>& body) {
  if (num_members > 1) {
    start();
    {
      std::lock_guard<std::mutex> lock(workers_->mutex);
      workers_->body = &body;
      workers_->num_members = num_members;
      workers_->num_busy = num_members - 1;
      ++workers_->run_count;
    }
    workers_->wake.notify_all();
  }
  body(0);
  if (num_members > 1) {
    std::unique_lock<std::mutex> lock(workers_->mutex);
    workers_->done.wait(lock, [this] { return workers_->num_busy == 0; });
  }
}

void ThreadTeam::Workers::work(int member) {
  uint64_t last_run = 0;
  while (true) {
    std::unique_lock<std::mutex> lock(mutex);
    wake.wait(lock, [&] { return stop || run_count != last_run; });
    if (stop) return;
    last_run = run_count;
    if (member >= num_members) continue;
    const std::function<void(int)>& current = *body;
    lock.unlock();
    current(member);
    lock.lock();
    if (--num_busy == 0) done.notify_one();
  }
}

}  // namespace zen
