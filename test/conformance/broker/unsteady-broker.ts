// The Broker port as over a bad network: in front of any broker, it makes each call arrive and each
// answer return some turns of the event loop later, lets calls that are independent overtake each
// other, keeps answers back as long as a test likes, and lets calls fail. What the port promises of
// order holds (`lanesOf`), so whatever rests on the port alone must work over it.
import { BrokerError, ERROR_CODES, type ErrorCode } from '../../../src/errors.ts'
import type { ClientRegistration } from '../../../src/model/client.ts'
import { type NewMessage, type PublishResult, withOwnBytes } from '../../../src/model/message.ts'
import type { Claim, StateChange, StateEntry } from '../../../src/model/state.ts'
import { type Broker, UNCERTAIN_CODES } from '../../../src/port/broker.ts'
import type { States } from '../../../src/port/states.ts'
import { Random } from '../../support/random.ts'

/** 'publish', 'states.save', ... */
export type CallName = string

/** How a call ends. */
export type Fate =
  | 'done'
  /** It never reached the broker. */
  | { readonly refused: ErrorCode }
  /** The broker did it, and the answer was lost. */
  | { readonly lost: ErrorCode }

export interface UnsteadyOptions {
  /** Print it: a failing run can be run again. */
  readonly seed: number
  /** How many turns of the event loop a call takes at most, and its answer as well. */
  readonly turnsMax?: number
  /** What becomes of a call; nothing fails without it. */
  readonly fate?: (call: CallName, random: Random) => Fate
  /** The error of this one message of a `publish`, which does not reach the broker then. */
  readonly refuses?: (message: NewMessage, random: Random) => ErrorCode | undefined
}

const TURNS_MAX = 6

/** A fate for `UnsteadyOptions`: one in so many calls fails, with any of the codes. */
export const oneIn =
  (calls: number, codes: readonly ErrorCode[] = ERROR_CODES) =>
  (_call: CallName, random: Random): Fate => {
    if (random.int(calls) > 0) return 'done'
    return random.chance(0.5) ? { refused: random.pick(codes) } : { lost: random.pick(LOST) }
  }

/** How a caller learns that there will be no answer. */
const LOST = [...UNCERTAIN_CODES]

type Listener = (...news: unknown[]) => void

export class UnsteadyBroker {
  /** To be given to a front-end, or to the suite of the port. */
  readonly port: Broker
  readonly random: Random
  /** Calls of each name so far, and failures of each code. */
  readonly calls = new Map<CallName, number>()
  readonly failures = new Map<ErrorCode, number>()
  fate: NonNullable<UnsteadyOptions['fate']>
  refuses: NonNullable<UnsteadyOptions['refuses']>
  turnsMax: number
  /** Where the last call of a lane was handed to the broker. */
  readonly #lanes = new Map<string, Promise<void>>()
  readonly #held = new Map<CallName, Promise<void>>()

  constructor(real: Broker, options: UnsteadyOptions) {
    this.random = new Random(options.seed)
    this.turnsMax = options.turnsMax ?? TURNS_MAX
    this.fate = options.fate ?? (() => 'done')
    this.refuses = options.refuses ?? (() => undefined)
    this.port = this.#wrapped(real, '')
  }

  /** From now on nothing fails and nothing is late. */
  calm(): void {
    this.turnsMax = 0
    this.fate = () => 'done'
    this.refuses = () => undefined
  }

  /** Keeps the answers of these calls back until the function that it returns is called. */
  hold(call: CallName): () => void {
    let letGo = (): void => {}
    const held = new Promise<void>((resolve) => {
      letGo = resolve
    })
    this.#held.set(call, held)
    return () => {
      if (this.#held.get(call) === held) this.#held.delete(call)
      letGo()
    }
  }

  #wrapped<T extends object>(target: T, prefix: string): T {
    return new Proxy(target, {
      get: (_, key) => {
        const value = Reflect.get(target, key) as unknown
        const name = `${prefix}${String(key)}`
        if (typeof value === 'function') {
          const method = value.bind(target) as (...args: unknown[]) => unknown
          if (key === 'watch' || key === 'watchFree') return this.#watch(method)
          if (name === 'replies.serve') return method
          if (name === 'states.list')
            return (prefix: string) => this.#list(target as States, prefix)
          return (...args: unknown[]) => this.#call(name, args, method)
        }
        const isPart = typeof value === 'object' && value !== null && key !== 'identity'
        return isPart ? this.#wrapped(value, `${name}.`) : value
      },
    })
  }

  async #call(
    name: CallName,
    args: unknown[],
    method: (...args: unknown[]) => unknown,
  ): Promise<unknown> {
    this.calls.set(name, (this.calls.get(name) ?? 0) + 1)
    // Copied within the call, as the port promises of bodies, properties and states.
    const sent = /^publish(AndSettle)?$/.test(name) ? copied(args) : args.map(copiedBytes)
    const fate = this.fate(name, this.random)
    const lanes = lanesOf(name, args)
    const before = lanes.map((lane) => this.#lanes.get(lane))
    const arrived = Promise.all([...before, this.#someTurns()])
    let answer: Promise<unknown> = Promise.resolve()
    const handed = arrived.then(() => {
      if (typeof fate === 'object' && 'refused' in fate) return
      answer = name === 'publish' ? this.#publish(sent, method) : (async () => method(...sent))()
      // Looked at below.
      answer.catch(() => {})
    })
    for (const lane of lanes) this.#lanes.set(lane, handed)
    await handed
    const outcome = answer.then(
      (value) => () => value,
      (error: unknown) => () => {
        throw error
      },
    )
    const settle = await outcome
    await this.#held.get(name)
    await this.#someTurns()
    if (typeof fate === 'object') throw this.#failure(name, fate)
    return settle()
  }

  #failure(name: CallName, fate: Exclude<Fate, 'done'>): BrokerError {
    const code = 'refused' in fate ? fate.refused : fate.lost
    this.failures.set(code, (this.failures.get(code) ?? 0) + 1)
    return new BrokerError(code, `${name} failed, for a test`)
  }

  /** The broker's own `publish`, of those messages that are not refused on the way. */
  async #publish(args: unknown[], method: (...args: unknown[]) => unknown): Promise<unknown> {
    const [messages, changes = []] = args as Parameters<Broker['publish']>
    const refused = messages.map((message) => this.refuses(message, this.random))
    if (refused.every((code) => code === undefined)) return method(...args)
    const index = new Map<number, number>()
    for (const [at, code] of refused.entries()) if (code === undefined) index.set(at, index.size)
    const taken = messages.filter((_, at) => index.has(at))
    const kept = changes
      .filter(({ message }) => message === undefined || index.has(message))
      .map((change) =>
        change.message === undefined ? change : { ...change, message: index.get(change.message)! },
      )
    const isNothing = taken.length + kept.length === 0
    const results = isNothing ? [] : ((await method(taken, kept)) as readonly PublishResult[])
    return refused.map((code, at) =>
      code === undefined ? results[index.get(at)!] : this.#failure('publish', { refused: code }),
    )
  }

  /** Each page is a call of its own. */
  async *#list(states: States, prefix: string): AsyncGenerator<readonly StateEntry[]> {
    const pages = states.list(prefix)[Symbol.asyncIterator]()
    for (;;) {
      const next = () => pages.next()
      const page = (await this.#call('states.list', [], next)) as IteratorResult<StateEntry[]>
      if (page.done) return
      yield page.value
    }
  }

  /** News comes late too, in its order, but never after its end. */
  #watch(method: (...args: unknown[]) => unknown) {
    return (...args: unknown[]): Disposable => {
      const last = args.pop() as Listener | { readonly ask: Listener }
      // A producer is asked by a listener that also answers at once.
      const listener = typeof last === 'function' ? last : last.ask
      let isOver = false
      let told = Promise.resolve()
      const late = (...news: unknown[]): void => {
        const turns = this.#someTurns()
        told = told.then(async () => {
          await turns
          if (!isOver) listener(...news)
        })
      }
      const heard = typeof last === 'function' ? late : { ...last, ask: late }
      const watch = method(...args, heard) as Disposable
      return {
        [Symbol.dispose]: () => {
          isOver = true
          watch[Symbol.dispose]()
        },
      }
    }
  }

  async #someTurns(): Promise<void> {
    for (let left = this.random.int(this.turnsMax + 1); left > 0; left--) {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

/**
 * Calls that share a lane reach the broker in the order in which they were made, as the port
 * promises; all others in any order. Answers overtake each other everywhere.
 */
function lanesOf(name: CallName, args: readonly unknown[]): readonly string[] {
  const [part, method] = name.split('.')
  switch (part) {
    case 'publish': {
      const [, changes = []] = args as Parameters<Broker['publish']>
      return ['messages', ...changes.map(({ id }) => `state ${id}`)]
    }
    case 'publishTogether':
    case 'publishAndSettle':
      return ['messages']
    case 'states':
      return typeof args[0] === 'string' ? [`state ${args[0]}`] : claimLane(args[0])
    case 'cursors':
      return /^(commit|committed|available|reset)$/.test(method ?? '')
        ? [`place ${JSON.stringify(args.slice(0, 2))}`]
        : []
    case 'lightQueues':
      if (method === 'hold' || method === 'letGo') return [`held ${args[0]}`]
      return method === 'unbindAll' ? [`owner ${args[0]}`] : [`owner ${args[1]}`]
    case 'clients':
      return /^(un)?register$/.test(method ?? '') ? [`client ${connectionOf(args[0])}`] : []
    case 'queueLocks':
      return [`locks ${String(args[0])} ${String(args[1])}`]
    case 'topics':
    case 'groups':
      return method === 'list' ? [] : [`definition ${nameOf(args[0])}`]
    default:
      return []
  }
}

const claimLane = (claim: unknown): readonly string[] =>
  claim === undefined ? [] : [`state ${(claim as Claim).id}`]

const connectionOf = (subject: unknown): string =>
  typeof subject === 'string' ? subject : (subject as ClientRegistration).connectionId

const nameOf = (subject: unknown): string =>
  typeof subject === 'string' ? subject : (subject as { name: string }).name

const copiedBytes = (arg: unknown): unknown => (arg instanceof Uint8Array ? Buffer.from(arg) : arg)

function copied(args: readonly unknown[]): unknown[] {
  const [messages, changes] = args as [readonly NewMessage[], (readonly StateChange[])?]
  const copies = messages.map(withOwnBytes)
  // Settlements pass by: they have no bytes.
  const states = changes?.map((change) =>
    change.state instanceof Uint8Array ? { ...change, state: Buffer.from(change.state) } : change,
  )
  return states === undefined ? [copies] : [copies, states]
}
