// The context of a trace as messages carry it: W3C Trace Context, whose two fields are properties
// of these names in every protocol.

export const TRACEPARENT = 'traceparent'
export const TRACESTATE = 'tracestate'

/** What a message is part of. */
export interface TraceParent {
  readonly traceId: string
  readonly spanId: string
  /** Is the trace recorded? */
  readonly isSampled: boolean
}

/** version - trace id - parent id - flags; later versions may add to it. */
const FIELD = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const NO_TRACE = '0'.repeat(32)
const NO_SPAN = '0'.repeat(16)
const SAMPLED = 1

/** undefined: it is none, and is treated as if it were not there (Trace Context, 3.2.2). */
export function parseTraceparent(text: string): TraceParent | undefined {
  const [, version, traceId = NO_TRACE, spanId = NO_SPAN, flags = '00', more] =
    FIELD.exec(text) ?? []
  if (traceId === NO_TRACE || spanId === NO_SPAN || version === 'ff') return undefined
  if (version === '00' && more !== undefined) return undefined
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0 }
}

export const formatTraceparent = (parent: Omit<TraceParent, 'isSampled'>): string =>
  `00-${parent.traceId}-${parent.spanId}-01`
