// What HTTP counts.
import { counter } from '../../numbers/declared.ts'

const STATUS_CLASSES = ['2xx', '3xx', '4xx', '5xx'] as const
export type StatusClass = (typeof STATUS_CLASSES)[number]

export const REQUESTS = counter('trivet_http_requests_total', 'requests', {
  help: 'HTTP requests, by the class of the status that they were answered with.',
  labels: { status: STATUS_CLASSES },
})
