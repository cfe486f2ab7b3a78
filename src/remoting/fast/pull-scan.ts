// The fields of a PULL straight from a scanned header.

import type { PullFields } from '../requests/pull.ts'
import { type HeaderScan, integerIn } from './header-scan.ts'

/** undefined: something is missing or unusual; the general way says what. */
export function scanPull(scan: HeaderScan): PullFields | undefined {
  const consumerGroup = textOf(scan, 'consumerGroup')
  const topic = textOf(scan, 'topic')
  const queueId = integerOf(scan, 'queueId')
  const queueOffset = integerOf(scan, 'queueOffset')
  const maxMsgNums = integerOf(scan, 'maxMsgNums')
  const sysFlag = integerOf(scan, 'sysFlag')
  const commitOffset = integerOf(scan, 'commitOffset')
  const suspendTimeoutMillis = integerOf(scan, 'suspendTimeoutMillis')
  const subVersion = optionalIntegerOf(scan, 'subVersion')
  const maxMsgBytes = optionalIntegerOf(scan, 'maxMsgBytes')
  const sum =
    queueId +
    queueOffset +
    maxMsgNums +
    sysFlag +
    commitOffset +
    suspendTimeoutMillis +
    (subVersion ?? 0) +
    (maxMsgBytes ?? 0)
  if (consumerGroup === undefined || topic === undefined || Number.isNaN(sum)) return undefined
  if ((queueId | 0) !== queueId || (maxMsgNums | 0) !== maxMsgNums || (sysFlag | 0) !== sysFlag) {
    return undefined
  }
  if (maxMsgBytes !== undefined && (maxMsgBytes | 0) !== maxMsgBytes) return undefined
  return {
    consumerGroup,
    topic,
    queueId,
    queueOffset,
    maxMsgNums,
    sysFlag,
    commitOffset,
    suspendTimeoutMillis,
    subscription: textOf(scan, 'subscription'),
    subVersion,
    expressionType: textOf(scan, 'expressionType'),
    maxMsgBytes,
  }
}

export function textOf(scan: HeaderScan, name: string): string | undefined {
  const i = scan.find(name)
  if (i === -1) return undefined
  const text = scan.bytes.utf8Slice(scan.valueAt[i]!, scan.valueEnd[i]!)
  return scan.isEscaped[i] === 1 ? (JSON.parse(`"${text}"`) as string) : text
}

/** NaN: it is not there, or none. */
export function integerOf(scan: HeaderScan, name: string): number {
  const i = scan.find(name)
  return i === -1 ? Number.NaN : integerIn(scan.bytes, scan.valueAt[i]!, scan.valueEnd[i]!)
}

function optionalIntegerOf(scan: HeaderScan, name: string): number | undefined {
  const i = scan.find(name)
  if (i === -1 || scan.valueAt[i] === scan.valueEnd[i]) return undefined
  return integerIn(scan.bytes, scan.valueAt[i]!, scan.valueEnd[i]!)
}
