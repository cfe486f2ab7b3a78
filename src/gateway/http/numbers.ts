// What HTTP counts.
import { counter } from '../../numbers/declared.ts'
import type { Counter, Numbers } from '../../numbers/numbers.ts'

const STATUS_CLASSES = ['2xx', '3xx', '4xx', '5xx'] as const
export type StatusClass = (typeof STATUS_CLASSES)[number]

const REQUESTS = counter('trivet_http_requests_total', 'requests', {
  help: 'HTTP requests, by the class of the status that they were answered with.',
  labels: { status: STATUS_CLASSES },
})

export function requestCounters(numbers: Numbers): Readonly<Record<StatusClass, Counter>> {
  const count = (status: StatusClass) => numbers.counter(REQUESTS, { status })
  return { '2xx': count('2xx'), '3xx': count('3xx'), '4xx': count('4xx'), '5xx': count('5xx') }
}
