// The fields of a POP and of an ACK straight from a scanned header.
import type { PopFields } from '../requests/pop.ts'
import type { HeaderScan } from './header-scan.ts'
import { integerOf, textOf } from './pull-scan.ts'

/** undefined: something is missing or unusual; the general way says what. */
export function scanPop(scan: HeaderScan): PopFields | undefined {
  const consumerGroup = textOf(scan, 'consumerGroup')
  const topic = textOf(scan, 'topic')
  const queueId = integerOf(scan, 'queueId')
  const maxMsgNums = integerOf(scan, 'maxMsgNums')
  const invisibleTime = integerOf(scan, 'invisibleTime')
  const pollTime = integerOf(scan, 'pollTime')
  const bornTime = integerOf(scan, 'bornTime')
  const initMode = integerOf(scan, 'initMode')
  const sum = queueId + maxMsgNums + invisibleTime + pollTime + bornTime + initMode
  if (consumerGroup === undefined || topic === undefined || Number.isNaN(sum)) return undefined
  if ((queueId | 0) !== queueId || (maxMsgNums | 0) !== maxMsgNums) return undefined
  const order = textOf(scan, 'order')
  if (order !== undefined && order !== 'false') return undefined
  return {
    ...{ consumerGroup, topic, queueId, maxMsgNums, invisibleTime, pollTime, bornTime, initMode },
    expType: textOf(scan, 'expType'),
    exp: textOf(scan, 'exp'),
    order: false,
    attemptId: undefined,
  }
}

export interface ScannedAck {
  readonly consumerGroup: string
  readonly topic: string
  readonly queueId: number
  readonly offset: number
  readonly extraInfo: string
  /** The second word of the handle; NaN when that is no number. */
  readonly popTime: number
}

export function scanAck(scan: HeaderScan): ScannedAck | undefined {
  const consumerGroup = textOf(scan, 'consumerGroup')
  const topic = textOf(scan, 'topic')
  const extraInfo = textOf(scan, 'extraInfo')
  const queueId = integerOf(scan, 'queueId')
  const offset = integerOf(scan, 'offset')
  if (consumerGroup === undefined || topic === undefined || extraInfo === undefined)
    return undefined
  if ((queueId | 0) !== queueId || !(offset >= 0)) return undefined
  const at = extraInfo.indexOf(' ') + 1
  const popTime = at === 0 ? Number.NaN : Number(extraInfo.slice(at, extraInfo.indexOf(' ', at)))
  return { consumerGroup, topic, queueId, offset, extraInfo, popTime }
}
