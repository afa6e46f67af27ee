type Set<T> = (next: T | ((before: T) => T)) => void;
export function useState<T>(first: T | (() => T)): [T, Set<T>];
export function useEffect(work: () => void | (() => void), on?: any[]): void;
export function useLayoutEffect(work: () => void | (() => void), on?: any[]): void;
export function useMemo<T>(work: () => T, on: any[]): T;
export function useCallback<T>(work: T, on: any[]): T;
export function useRef<T>(first: T): { current: T };
