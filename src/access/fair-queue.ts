// Logins that wait for a password check, taken in turn by address and by name: many from one
// address, or for one name from many addresses, take half of the checks at most from the others.
// Knows no passwords and no clock.

export interface WaitingLogin {
  readonly address: string
  readonly name: string
  /** Its turn has come. */
  readonly start: () => void
  /** There was no room for it. */
  readonly refuse: () => void
}

type Index = Map<string, Set<WaitingLogin>>

export class FairQueue {
  readonly #max: number
  readonly #byAddress: Index = new Map()
  readonly #byName: Index = new Map()
  #size = 0
  #isNamesTurn = false

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#size
  }

  /**
   * When there is no room, the newest goes of the address and the name that have most; it may be
   * this one.
   */
  add(login: WaitingLogin): void {
    push(this.#byAddress, login.address, login)
    push(this.#byName, login.name, login)
    this.#size++
    if (this.#size <= this.#max) return
    const crowd = larger(largest(this.#byAddress), largest(this.#byName))
    let unwanted = login
    let most = 0
    for (const one of crowd) {
      const others = this.#byAddress.get(one.address)!.size + this.#byName.get(one.name)!.size
      if (others < most) continue
      most = others
      unwanted = one
    }
    this.remove(unwanted)
    unwanted.refuse()
  }

  /** It waits no longer. Answers whether it did. */
  remove(login: WaitingLogin): boolean {
    if (this.#byAddress.get(login.address)?.has(login) !== true) return false
    pull(this.#byAddress, login.address, login)
    pull(this.#byName, login.name, login)
    this.#size--
    return true
  }

  /** The next of those that may go now; undefined when none may. */
  take(mayGo: (login: WaitingLogin) => boolean): WaitingLogin | undefined {
    this.#isNamesTurn = !this.#isNamesTurn
    const index = this.#isNamesTurn ? this.#byName : this.#byAddress
    for (const [key, logins] of index) {
      for (const login of logins) {
        if (!mayGo(login)) continue
        this.remove(login)
        // Behind the others.
        if (index.delete(key) && logins.size > 0) index.set(key, logins)
        return login
      }
    }
    return undefined
  }

  *[Symbol.iterator](): Iterator<WaitingLogin> {
    for (const logins of this.#byAddress.values()) yield* logins
  }
}

function push(index: Index, key: string, login: WaitingLogin): void {
  const logins = index.get(key)
  if (logins) logins.add(login)
  else index.set(key, new Set([login]))
}

function pull(index: Index, key: string, login: WaitingLogin): void {
  const logins = index.get(key)
  logins?.delete(login)
  if (logins?.size === 0) index.delete(key)
}

const NONE: ReadonlySet<WaitingLogin> = new Set()

function largest(index: Index): ReadonlySet<WaitingLogin> {
  let most: ReadonlySet<WaitingLogin> = NONE
  for (const logins of index.values()) most = larger(most, logins)
  return most
}

const larger = (
  a: ReadonlySet<WaitingLogin>,
  b: ReadonlySet<WaitingLogin>,
): ReadonlySet<WaitingLogin> => (b.size > a.size ? b : a)
