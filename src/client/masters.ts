// The masters of a cluster, for requests that each of them is to answer.
import { RESPONSE } from '../remoting/codes.ts'
import type { Command } from '../remoting/command.ts'
import type { RemotingConnection, RequestOptions } from '../remoting/connection.ts'
import type { CallOptions } from './calls.ts'
import type { Directory } from './name-servers.ts'
import type { Outages } from './outages.ts'
import type { Presence } from './presence.ts'
import { responseError } from './response-errors.ts'

const MASTER_ID = 0
/** Changes of definitions may take a broker longer than messages do. */
const TIMEOUT_MS = 10_000

export interface Master {
  readonly name: string
  readonly address: string
}

export interface MasterAnswer extends Master {
  readonly response: Command
}

export class Masters {
  readonly #directory: Directory
  readonly #presence: Presence
  readonly #outages: Outages

  constructor(directory: Directory, presence: Presence, outages: Outages) {
    this.#directory = directory
    this.#presence = presence
    this.#outages = outages
  }

  async list(options: CallOptions): Promise<readonly Master[]> {
    const brokers = await this.#directory.brokers(options)
    return brokers.flatMap(({ brokerName, addresses }) => {
      const address = addresses.get(MASTER_ID)
      if (address === undefined) return []
      this.#outages.expect(brokerName, address)
      return [{ name: brokerName, address }]
    })
  }

  connection(address: string, options: CallOptions): Promise<RemotingConnection> {
    return this.#presence.connection(address, options)
  }

  /**
   * The answer of every master that has one; `absent` is the response code of those that do not have what
   * is asked for.
   */
  async ask(
    code: number,
    asked: string,
    options: RequestOptions,
    absent?: number,
  ): Promise<readonly MasterAnswer[]> {
    const masters = await this.list(options)
    const answers = await Promise.all(
      masters.map(async ({ name, address }) => {
        const connection = await this.connection(address, options)
        const timeoutMs = options.timeoutMs ?? TIMEOUT_MS
        const response = await connection.request(code, { ...options, timeoutMs })
        if (response.code === absent) return undefined
        if (response.code === RESPONSE.success) return { name, address, response }
        throw responseError(response, `${asked} at ${address}`)
      }),
    )
    return answers.filter((answer) => answer !== undefined)
  }
}
