export function h(...args: any[]): any;
export function render(what: any, where: Element): void;
export class Component { props: any; context: any; base: any; }
