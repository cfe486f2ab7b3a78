// VIEW_BROKER_STATS_DATA (315): how much went through a topic or to a group of late.
import type { RecentCounts, SpanCount } from '../../model/status.ts'
import { jsonBody } from '../json/json-emitter.ts'
import { layout, text } from '../layout.ts'

export const VIEW_STATS = layout({ statsName: text, statsKey: text })

const spanOut = ({ messages, seconds }: SpanCount): { [member: string]: number } => ({
  // Calls are not counted apart from messages.
  avgpt: 0,
  sum: messages,
  tps: perSecond({ messages, seconds }),
})

export const perSecond = ({ messages, seconds }: SpanCount): number =>
  messages / Math.max(1, seconds)

export const encodeStatistics = ({ minute, hour, day }: RecentCounts): Buffer =>
  jsonBody({ statsDay: spanOut(day), statsHour: spanOut(hour), statsMinute: spanOut(minute) })
