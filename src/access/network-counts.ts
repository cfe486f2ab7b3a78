// How many connections each remote network has open with one listener.
import { networkOf } from './peer-network.ts'

export class NetworkCounts {
  readonly #open = new Map<string, number>()

  /** May the address have one more when its network may have `max`? If so it counts from now on. */
  take(address: string, max: number): boolean {
    const network = networkOf(address)
    const open = this.#open.get(network) ?? 0
    if (open >= max) return false
    this.#open.set(network, open + 1)
    return true
  }

  give(address: string): void {
    const network = networkOf(address)
    const left = (this.#open.get(network) ?? 1) - 1
    if (left > 0) this.#open.set(network, left)
    else this.#open.delete(network)
  }
}
