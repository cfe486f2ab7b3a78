// What a simulated client asked of a commit log, what it was told, and the judgement over what is
// found after a crash: nothing acknowledged lost, nothing half there, nothing out of order, nothing
// invented, nothing back that was refused or gone.

import { NO_HOST } from '../../../src/model/host.ts'
import type { LogPosition } from '../../../src/model/positions.ts'
import { type RecordDraft, RecordView } from '../../../src/model/record.ts'
import type { Appending } from '../../../src/store/log/commit-log.ts'

type Fate =
  /** Not answered yet. */
  | 'open'
  | 'acknowledged'
  /** Answered with an error. */
  | 'refused'
  /**
   * Not answered before a crash, or acknowledged within the async window, and not found after it.
   */
  | 'gone'
  /** Removed with its segment. */
  | 'dropped'

export interface Call {
  readonly id: number
  readonly drafts: readonly RecordDraft[]
  readonly queueOffsets: readonly number[]
  appending: Appending | undefined
  fate: Fate
  /** A crash may take it although it is acknowledged (async mode). */
  isInWindow: boolean
  /** Refused, but the disk failed to take note: it may be found. */
  isUnsure: boolean
}

export interface Found {
  readonly callId: number
  readonly index: number
  readonly position: number
  readonly bytes: Buffer
}

const TOPIC = 'T'
const NO_PROPERTIES = Buffer.alloc(0)

export class LogHistory {
  readonly calls: Call[] = []
  #queueOffset = 0

  /** Plans a call of so many records with bodies of these sizes. */
  plan(bodySizes: readonly number[]): Call {
    const id = this.calls.length
    const call: Call = {
      id,
      drafts: bodySizes.map((size, index) => draftOf(id, index, bodySizes.length, size)),
      queueOffsets: bodySizes.map(() => this.#queueOffset++),
      appending: undefined,
      fate: 'open',
      isInWindow: false,
      isUnsure: false,
    }
    return call
  }

  /** Answers must come in the order of the calls. */
  answered(call: Call, fate: 'acknowledged' | 'refused'): void {
    if (call.fate !== 'open') throw new Error(`call ${call.id} was answered twice`)
    const earlier = this.calls.find((other) => other.fate === 'open')
    if (earlier !== call) throw new Error(`call ${call.id} was answered before call ${earlier?.id}`)
    call.fate = fate
  }

  /** Everything before the position went with its segments, or may have. */
  dropped(position: LogPosition): void {
    for (const call of this.calls) {
      const last = call.appending?.positions.at(-1)
      if (last !== undefined && last < position && call.fate === 'acknowledged')
        call.fate = 'dropped'
    }
  }

  /** Compares with what a recovered log holds, and settles what was open. @throws on a violation */
  judge(found: readonly Found[]): void {
    const present = this.#collect(found)
    let missing: Call | undefined
    for (const call of this.calls) {
      const isPresent = present.has(call.id)
      switch (call.fate) {
        case 'acknowledged':
          if (!isPresent && !call.isInWindow)
            throw new Error(`call ${call.id} was acknowledged and is lost`)
          break
        case 'refused':
          if (isPresent && !call.isUnsure)
            throw new Error(`call ${call.id} was refused and is there`)
          break
        case 'gone':
          if (isPresent) throw new Error(`call ${call.id} was gone and is back`)
          break
        case 'open':
        case 'dropped':
          break
      }
      if (call.fate === 'dropped' || call.fate === 'refused' || call.fate === 'gone') continue
      if (isPresent && missing !== undefined) {
        throw new Error(`call ${call.id} is there and call ${missing.id} before it is not`)
      }
      if (!isPresent) {
        missing = call
        call.fate = 'gone'
      } else {
        call.fate = 'acknowledged'
      }
      call.isInWindow = false
    }
    for (const call of this.calls) {
      if (call.fate !== 'refused') continue
      call.fate = present.has(call.id) ? 'acknowledged' : 'gone'
      call.isUnsure = false
    }
  }

  /** Ids of the calls found, each whole, in order, as it was appended. */
  #collect(found: readonly Found[]): Set<number> {
    const present = new Set<number>()
    for (let i = 0; i < found.length; ) {
      const call = this.calls[found[i]!.callId]
      if (call === undefined) throw new Error(`record of call ${found[i]!.callId} was invented`)
      if (present.has(call.id)) throw new Error(`call ${call.id} is there twice`)
      for (const id of present) {
        if (id > call.id) throw new Error(`call ${call.id} comes after call ${id}`)
      }
      for (let index = 0; index < call.drafts.length; index++, i++) {
        const record = found[i]
        if (record?.callId !== call.id || record.index !== index) {
          throw new Error(`call ${call.id} is there without its record ${index}`)
        }
        this.#compare(call, index, record)
      }
      present.add(call.id)
    }
    return present
  }

  #compare(call: Call, index: number, found: Found): void {
    const view = new RecordView(found.bytes)
    const told = call.appending?.positions[index]
    if (told !== undefined && told !== found.position) {
      throw new Error(
        `record ${index} of call ${call.id} is at ${found.position}, told was ${told}`,
      )
    }
    const isSame =
      view.position === found.position &&
      view.queueOffset === call.queueOffsets[index] &&
      view.topic === TOPIC &&
      Buffer.compare(view.body, call.drafts[index]!.body) === 0
    if (!isSame) throw new Error(`record ${index} of call ${call.id} is not what was appended`)
  }
}

/** Call and place of a record, read from its body. */
export function foundRecord(view: RecordView): Found {
  const { body } = view
  return {
    callId: body.readUInt32BE(0),
    index: body.readUInt16BE(4),
    position: view.position,
    bytes: Buffer.from(view.bytes.subarray(view.start, view.start + view.size)),
  }
}

function draftOf(id: number, index: number, count: number, size: number): RecordDraft {
  const body = Buffer.alloc(Math.max(size, 8))
  for (let i = 8; i < body.length; i++) body[i] = (id * 31 + index * 7 + i) & 255
  body.writeUInt32BE(id, 0)
  body.writeUInt16BE(index, 4)
  body.writeUInt16BE(count, 6)
  return {
    topic: TOPIC,
    queueId: 0,
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1,
    bornHost: NO_HOST,
    reconsumeTimes: 0,
    preparedPosition: 0,
    body,
    properties: NO_PROPERTIES,
  }
}
