// What tracing counts.
import { counter } from '../numbers/declared.ts'

export const SENT = counter('trivet_trace_spans_sent_total', 'spans', {
  help: 'Spans that the receiver at tracing.endpoint took.',
})
export const LOST = counter('trivet_trace_spans_lost_total', 'spans', {
  help: 'Spans that the receiver at tracing.endpoint did not take.',
})
export const LEFT_OUT = counter('trivet_trace_spans_left_out_total', 'spans', {
  help: 'Spans that were not made: beyond tracing.spansPerSecondMax, or while too many wait to be sent.',
})
