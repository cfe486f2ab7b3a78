// An object with some of its members replaced, for what a test puts between a front-end and the
// broker.

export function overridden<T extends object>(original: T, changed: Partial<T>): T {
  return new Proxy(original, {
    get(target, key) {
      if (Object.hasOwn(changed, key)) return changed[key as keyof T]
      const value = Reflect.get(target, key) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
