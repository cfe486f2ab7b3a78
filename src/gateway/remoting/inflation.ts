// Inflating of compressed bodies: a few bytes may be thousands when they are inflated, and a chunk
// may bring hundreds of such bodies. What is done while there is time for it in this turn of the
// event loop is done at once; the rest in later turns, or on another thread, for one request after
// the other, so that only one holds what is not whole yet.
import { type Clock, SharedSlice } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'
import type { NewMessage } from '../../model/message.ts'
import { SYS_FLAG } from '../../model/record.ts'
import {
  COMPRESSION_BITS,
  inflateBy,
  inflateInSteps,
  inflateZlib,
  type Method,
  methodOf,
} from '../../remoting/inflate/inflate.ts'

/** Of the bodies of one request together. */
const INFLATED_BYTES_MAX = 8 * 1024 * 1024
/** The least that one body counts for: zlib's own state is made anew for each. */
const INFLATING_BYTES_MIN = 8 * 1024
/** A zlib body of no more bytes, before and after, is done at once: another thread takes longer. */
const AT_ONCE_BYTES_MAX = 64 * 1024
const AT_ONCE_INFLATED_BYTES_MAX = 256 * 1024

type Inflated = Buffer | undefined
/** undefined: a place to let others run. Otherwise what is to be waited for. */
type Wait = (() => Promise<Inflated>) | undefined
type Work<T> = Generator<Wait, T, Inflated>

export class Inflation {
  readonly #slice: SharedSlice
  /** Of the requests that take longer. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(clock: Clock) {
    this.#slice = new SharedSlice(clock)
  }

  /**
   * Undoes what compression is known. What is larger than a body may be, or than the default of
   * that, stays as it is.
   * @throws BrokerError MESSAGE_INVALID for a body that is not compressed so
   */
  inflate(
    messages: readonly NewMessage[],
    bodyBytesMax: number,
  ): readonly NewMessage[] | Promise<readonly NewMessage[]> {
    const work = inflated(messages, Math.min(bodyBytesMax, BODY_BYTES_DEFAULT))
    if (!this.#slice.isOver) return this.#now(work)
    // Of one message nothing is held before its turn: a small one waits for no large ones.
    return messages.length === 1 ? this.#soon(work) : this.#later(work, undefined)
  }

  async #soon<T>(work: Work<T>): Promise<T> {
    await this.#slice.rest()
    return this.#now(work)
  }

  #now<T>(work: Work<T>): T | Promise<T> {
    do {
      const step = work.next()
      if (step.done) return step.value
      if (step.value !== undefined) return this.#later(work, step.value)
    } while (!this.#slice.isOver)
    return this.#later(work, undefined)
  }

  #later<T>(work: Work<T>, wait: Wait): Promise<T> {
    const done = this.#last.then(() => this.#finish(work, wait))
    this.#last = done.catch(() => {})
    return done
  }

  async #finish<T>(work: Work<T>, first: Wait): Promise<T> {
    for (let wait = first; ; ) {
      const body = await wait?.()
      if (this.#slice.isOver) await this.#slice.rest()
      const step = work.next(body)
      if (step.done) return step.value
      wait = step.value
    }
  }
}

function* inflated(messages: readonly NewMessage[], bodyBytesMax: number): Work<NewMessage[]> {
  const done: NewMessage[] = []
  let left = INFLATED_BYTES_MAX
  for (const message of messages) {
    const { sysFlag } = message
    const method = methodOf(sysFlag)
    const bytesMax = Math.min(bodyBytesMax, left)
    let body: Inflated
    if ((sysFlag & SYS_FLAG.compressed) !== 0 && method !== undefined) {
      if (bytesMax >= INFLATING_BYTES_MIN) {
        yield
        body = yield* inflatedBody(method, message.body, bytesMax)
      }
      left -= Math.max(INFLATING_BYTES_MIN, body?.length ?? bytesMax)
    }
    const plain = body && { ...message, body, sysFlag: sysFlag & ~COMPRESSION_BITS }
    done.push(plain ?? message)
  }
  return done
}

function* inflatedBody(method: Method, body: Uint8Array, bytesMax: number): Work<Inflated> {
  try {
    if (method !== 'zlib') return yield* inflateInSteps(method, body, bytesMax)
    if (body.length <= AT_ONCE_BYTES_MAX) {
      const most = Math.min(bytesMax, AT_ONCE_INFLATED_BYTES_MAX)
      const plain = inflateBy('zlib', body, most)
      if (plain !== undefined || most === bytesMax) return plain
    }
  } catch (cause) {
    throw invalid(method, cause)
  }
  const later = () => inflateZlib(body, bytesMax)
  return yield () =>
    later().catch((cause: unknown) => {
      throw invalid(method, cause)
    })
}

const invalid = (method: Method, cause: unknown): BrokerError =>
  new BrokerError(
    'MESSAGE_INVALID',
    `the message says that its body is compressed with ${method}, and it cannot be inflated: ${(cause as Error).message}`,
    { cause },
  )
