// What the process itself costs: the delay of its event loop, memory and processor.
import type { Clock, Timer } from '../clock.ts'
import { counter, gauge, histogram, SECONDS_BOUNDS } from './declared.ts'
import type { Numbers } from './numbers.ts'

const EVENT_LOOP_DELAY = histogram('trivet_event_loop_delay_seconds', 'seconds', {
  help: 'How late a timer of 50 ms fired: what every connection waits for at such a moment.',
  bounds: SECONDS_BOUNDS,
})
const EVENT_LOOP_BUSY = gauge('trivet_event_loop_busy_ratio', 'ratio', {
  help: 'Share of the last ten seconds in which the event loop worked; 1 is a full core.',
})
const RESIDENT = gauge('process_resident_memory_bytes', 'bytes', {
  help: 'Resident memory of the process.',
})
const CPU = counter('process_cpu_seconds_total', 'seconds', {
  help: 'Processor time of the process since its start, of all threads.',
})

const TICK_MS = 50
const BUSY_WINDOW_MS = 10_000

/** From now until the timer is cancelled. */
export function watchProcess(numbers: Numbers, clock: Clock): Timer {
  const delay = numbers.histogram(EVENT_LOOP_DELAY)
  let lastMs = clock.monotonic()
  let [windowMs, windowIdleMs, busy] = [lastMs, clock.idle(), 0]
  numbers.gauge(EVENT_LOOP_BUSY, () => busy)
  numbers.gauge(RESIDENT, () => process.memoryUsage.rss())
  numbers.gauge(CPU, () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1_000_000
  })
  return clock.every(TICK_MS, () => {
    const nowMs = clock.monotonic()
    delay.observe(Math.max(0, nowMs - lastMs - TICK_MS) / 1000)
    lastMs = nowMs
    if (nowMs - windowMs < BUSY_WINDOW_MS) return
    const idleMs = clock.idle()
    busy = Math.max(0, 1 - (idleMs - windowIdleMs) / (nowMs - windowMs))
    windowMs = nowMs
    windowIdleMs = idleMs
  })
}
